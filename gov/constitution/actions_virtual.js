// The join policy of virtual nodes, whose attestation proves nothing: for development.

define(
  "add_virtual_measurement",
  (args) => checkType(args.measurement, "string", "measurement"),
  (args, proposalId) =>
    allowToJoin(
      "public:ccf.gov.nodes.virtual.measurements",
      args.measurement,
      ALLOWED_TO_JOIN(),
      proposalId,
    ),
);

define(
  "remove_virtual_measurement",
  (args) => checkType(args.measurement, "string", "measurement"),
  (args) =>
    ccf.kv["public:ccf.gov.nodes.virtual.measurements"].delete(
      ccf.strToBuf(args.measurement),
    ),
);

define(
  "add_virtual_host_data",
  (args) => checkType(args.host_data, "string", "host_data"),
  (args, proposalId) =>
    allowToJoin(
      "public:ccf.gov.nodes.virtual.host_data",
      args.host_data,
      new ArrayBuffer(8),
      proposalId,
    ),
);

define(
  "remove_virtual_host_data",
  (args) => checkType(args.host_data, "string", "host_data"),
  (args) =>
    ccf.kv["public:ccf.gov.nodes.virtual.host_data"].delete(
      ccf.strToBuf(args.host_data),
    ),
);
