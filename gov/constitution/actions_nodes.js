// Nodes: trust, removal, data, certificates.

function readNode(nodeId) {
  return readJson("public:ccf.gov.nodes.info", ccf.strToBuf(nodeId));
}

function writeNode(nodeId, info) {
  writeJson("public:ccf.gov.nodes.info", ccf.strToBuf(nodeId), info);
}

function checkNodeValidity(args) {
  checkEntityId(args.node_id, "node_id");
  checkValidity(args);
}

define("transition_node_to_trusted", checkNodeValidity, (args) => {
  const info = readNode(args.node_id);
  if (info === undefined) {
    throw new Error(`No such node: ${args.node_id}`);
  }
  if (info.status !== "Pending") {
    return;
  }
  info.status = "Trusted";
  info.ledger_secret_seqno = ccf.network.getLatestLedgerSecretSeqno();
  writeNode(args.node_id, info);
  ccf.node.shuffleSealedShares?.();
  // Requests for certificates are there from 2.x on.
  if (info.certificate_signing_request !== undefined) {
    endorseNode(args.node_id, info, args);
  }
});

define(
  "remove_node",
  (args) => checkEntityId(args.node_id, "node_id"),
  (args) => {
    const info = readNode(args.node_id);
    if (info === undefined) {
      return;
    }
    if (info.status === "Pending") {
      ccf.kv["public:ccf.gov.nodes.info"].delete(ccf.strToBuf(args.node_id));
    } else {
      info.status = "Retired";
      writeNode(args.node_id, info);
    }
  },
);

define(
  "set_node_data",
  (args) => checkEntityId(args.node_id, "node_id"),
  (args) => {
    const info = readNode(args.node_id);
    if (info === undefined) {
      throw new Error(`Node ${args.node_id} does not exist`);
    }
    info.node_data = args.node_data;
    writeNode(args.node_id, info);
  },
);

define("set_node_certificate_validity", checkNodeValidity, (args) => {
  const info = readNode(args.node_id);
  if (info === undefined) {
    throw new Error(`No such node: ${args.node_id}`);
  }
  if (info.status !== "Trusted") {
    throw new Error(`Node ${args.node_id} is not trusted`);
  }
  renewNodeCertificate(args.node_id, info, args);
});

define("set_all_nodes_certificate_validity", checkValidity, (args) => {
  ccf.kv["public:ccf.gov.nodes.info"].forEach((value, key) => {
    const info = ccf.bufToJsonCompatible(value);
    if (info.status === "Trusted") {
      renewNodeCertificate(ccf.bufToStr(key), info, args);
    }
  });
});
