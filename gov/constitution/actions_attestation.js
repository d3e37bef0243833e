// The join policy: what a node's attestation must say for it to be let in.

const ALLOWED_TO_JOIN = () => ccf.jsonCompatibleToBuf("AllowedToJoin");

define(
  "add_snp_measurement",
  (args) => checkType(args.measurement, "string", "measurement"),
  (args, proposalId) =>
    allowToJoin(
      "public:ccf.gov.nodes.snp.measurements",
      args.measurement,
      ALLOWED_TO_JOIN(),
      proposalId,
    ),
);

define(
  "remove_snp_measurement",
  (args) => checkType(args.measurement, "string", "measurement"),
  (args) =>
    ccf.kv["public:ccf.gov.nodes.snp.measurements"].delete(
      ccf.strToBuf(args.measurement),
    ),
);

define(
  "add_snp_host_data",
  (args) => {
    checkType(args.security_policy, "string", "security_policy");
    checkType(args.host_data, "string", "host_data");
    if (args.security_policy !== "") {
      const digest = bufToHexStr(
        ccf.crypto.digest("SHA-256", ccf.strToBuf(args.security_policy)),
      );
      if (digest !== bufToHexStr(hexStrToBuf(args.host_data))) {
        throw new Error(
          `The hash of raw policy ${digest} does not match digest ${args.host_data}`,
        );
      }
    }
  },
  (args, proposalId) =>
    allowToJoin(
      "public:ccf.gov.nodes.snp.host_data",
      args.host_data,
      ccf.jsonCompatibleToBuf(args.security_policy),
      proposalId,
    ),
);

define(
  "remove_snp_host_data",
  (args) => checkType(args.host_data, "string", "host_data"),
  (args) =>
    ccf.kv["public:ccf.gov.nodes.snp.host_data"].delete(
      ccf.strToBuf(args.host_data),
    ),
);

const UVM_ENDORSEMENTS = "public:ccf.gov.nodes.snp.uvm_endorsements";

define(
  "add_snp_uvm_endorsement",
  (args) => {
    checkType(args.did, "string", "did");
    checkType(args.feed, "string", "feed");
    checkType(args.svn, "string", "svn");
  },
  (args, proposalId) => {
    const feeds = readJson(UVM_ENDORSEMENTS, ccf.strToBuf(args.did)) ?? {};
    feeds[args.feed] = { svn: args.svn };
    allowToJoin(
      UVM_ENDORSEMENTS,
      args.did,
      ccf.jsonCompatibleToBuf(feeds),
      proposalId,
    );
  },
);

define(
  "remove_snp_uvm_endorsement",
  (args) => {
    checkType(args.did, "string", "did");
    checkType(args.feed, "string", "feed");
  },
  (args) => {
    const key = ccf.strToBuf(args.did);
    const feeds = readJson(UVM_ENDORSEMENTS, key) ?? {};
    delete feeds[args.feed];
    if (Object.keys(feeds).length === 0) {
      ccf.kv[UVM_ENDORSEMENTS].delete(key);
    } else {
      writeJson(UVM_ENDORSEMENTS, key, feeds);
    }
  },
);

const TCB_VERSIONS = "public:ccf.gov.nodes.snp.tcb_versions";
const CPUID_BYTES = 4;
const TCB_VERSION_BYTES = 8;

define(
  "set_snp_minimum_tcb_version",
  (args) => {
    checkLowerHex(args.cpuid, CPUID_BYTES, "cpuid");
    checkType(args.tcb_version, "object", "tcb_version");
    for (const part of ["boot_loader", "tee", "snp", "microcode"]) {
      checkType(args.tcb_version?.[part], "number", `tcb_version.${part}`);
    }
  },
  (args, proposalId) =>
    allowToJoin(
      TCB_VERSIONS,
      args.cpuid,
      ccf.jsonCompatibleToBuf(args.tcb_version),
      proposalId,
    ),
);

define(
  "set_snp_minimum_tcb_version_hex",
  (args) => {
    checkLowerHex(args.cpuid, CPUID_BYTES, "cpuid");
    checkLowerHex(args.tcb_version, TCB_VERSION_BYTES, "tcb_version");
  },
  (args, proposalId) =>
    allowToJoin(
      TCB_VERSIONS,
      args.cpuid,
      ccf.jsonCompatibleToBuf(ccf.tcbHexToPolicy(args.cpuid, args.tcb_version)),
      proposalId,
    ),
);

define(
  "remove_snp_minimum_tcb_version",
  (args) => checkLowerHex(args.cpuid, CPUID_BYTES, "cpuid"),
  (args) => {
    const key = ccf.strToBuf(args.cpuid);
    if (!ccf.kv[TCB_VERSIONS].has(key)) {
      throw new Error(`CPUID ${args.cpuid} not found`);
    }
    ccf.kv[TCB_VERSIONS].delete(key);
  },
);

const JOIN_POLICY = "public:ccf.gov.nodes.node_join_policy";

define(
  "set_node_join_policy",
  (args) => checkType(args.policy, "string", "policy"),
  (args) =>
    ccf.kv[JOIN_POLICY].set(getSingletonKvKey(), ccf.strToBuf(args.policy)),
);

define("remove_node_join_policy", noCheck, () =>
  ccf.kv[JOIN_POLICY].delete(getSingletonKvKey()),
);
