// What actions and resolve functions read of the governance tables, and the changes
// that more than one action makes.

// The key under which a table with a single value holds it.
function getSingletonKvKey() {
  return new ArrayBuffer(8);
}

function readJson(table, key) {
  const raw = ccf.kv[table].get(key);
  return raw === undefined ? undefined : ccf.bufToJsonCompatible(raw);
}

function writeJson(table, key, value) {
  ccf.kv[table].set(key, ccf.jsonCompatibleToBuf(value));
}

function readService() {
  const service = readJson("public:ccf.gov.service.info", getSingletonKvKey());
  if (service === undefined) {
    throw new Error("Service information could not be found");
  }
  return service;
}

function readServiceConfig() {
  const config = readJson("public:ccf.gov.service.config", getSingletonKvKey());
  if (config === undefined) {
    throw new Error("Service configuration could not be found");
  }
  return config;
}

function getMemberInfo(memberId) {
  return readJson("public:ccf.gov.members.info", ccf.strToBuf(memberId));
}

// A member with an encryption key holds a recovery share once it is active.
function isRecoveryMember(memberId) {
  return ccf.kv["public:ccf.gov.members.encryption_public_keys"].has(
    ccf.strToBuf(memberId),
  );
}

// counts says of a member id whether it counts; left out, every active member does.
function countActiveMembers(counts) {
  let n = 0;
  ccf.kv["public:ccf.gov.members.info"].forEach((value, key) => {
    const active = ccf.bufToJsonCompatible(value).status === "Active";
    if (active && (counts === undefined || counts(ccf.bufToStr(key)))) {
      n++;
    }
  });
  return n;
}

// In favour are more than half of the active members, or of those who count.
function hasMajority(votes, counts) {
  const inFavour = votes.filter(
    (v) => v.vote && (counts === undefined || counts(v.member_id)),
  ).length;
  return inFavour > Math.floor(countActiveMembers(counts) / 2);
}

function getActiveRecoveryMembersCount() {
  let n = 0;
  ccf.kv["public:ccf.gov.members.encryption_public_keys"].forEach((_, key) => {
    const info = readJson("public:ccf.gov.members.info", key);
    if (info === undefined) {
      throw new Error(
        `Recovery member ${ccf.bufToStr(key)} has no information`,
      );
    }
    if (info.status === "Active") {
      n++;
    }
  });
  return n;
}

// An open proposal was voted on under the rules of its day. Where an action changes
// them, the other open proposals fall, so that no vote comes to mean something else.
function invalidateOtherOpenProposals(proposalIdToRetain) {
  const proposals = ccf.kv["public:ccf.gov.proposals_info"];
  proposals.forEach((value, key) => {
    if (ccf.bufToStr(key) === proposalIdToRetain) {
      return;
    }
    const info = ccf.bufToJsonCompatible(value);
    if (info.state === "Open") {
      info.state = "Dropped";
      proposals.set(key, ccf.jsonCompatibleToBuf(info));
    }
  });
}

// Adds or removes one key of a join-policy table.
function allowToJoin(table, key, value, proposalId) {
  ccf.kv[table].set(ccf.strToBuf(key), value);
  invalidateOtherOpenProposals(proposalId);
}

const DEFAULT_MAX_CERT_VALIDITY_DAYS = 365;

// The days to use for a certificate: what was asked, at most max, max when nothing was.
function allowedDays(asked, max, role) {
  const limit = max ?? DEFAULT_MAX_CERT_VALIDITY_DAYS;
  if (asked !== undefined && asked > limit) {
    throw new Error(
      `Validity period ${asked} (days) is not allowed: ${role} max allowed is ${limit} (days)`,
    );
  }
  return asked ?? limit;
}

// Issues a node's certificate from the request that it joined with.
function endorseNode(nodeId, info, args) {
  const days = allowedDays(
    args.validity_period_days,
    readServiceConfig().maximum_node_certificate_validity_days,
    "service",
  );
  const cert = ccf.network.generateEndorsedCertificate(
    info.certificate_signing_request,
    args.valid_from,
    days,
  );
  ccf.kv["public:ccf.gov.nodes.endorsed_certificates"].set(
    ccf.strToBuf(nodeId),
    ccf.strToBuf(cert),
  );
}

function renewNodeCertificate(nodeId, info, args) {
  if (info.certificate_signing_request === undefined) {
    throw new Error(`Node ${nodeId} has no certificate signing request`);
  }
  endorseNode(nodeId, info, args);
}

function checkNewThreshold(from, to) {
  if (to === undefined || to === from) {
    return;
  }
  const status = readService().status;
  if (status === "WaitingForRecoveryShares") {
    throw new Error(`Cannot set recovery threshold if service is ${status}`);
  }
  if (status === "Open") {
    const holders = getActiveRecoveryMembersCount();
    if (to > holders) {
      throw new Error(
        `Cannot set recovery threshold to ${to}: recovery threshold would be greater than the number of recovery members ${holders}`,
      );
    }
  }
}

function checkNewReconfigurationType(from, to) {
  if (to === undefined || to === from) {
    return;
  }
  const one = from === undefined || from === "OneTransaction";
  if (!one || to !== "TwoTransaction") {
    throw new Error(
      `Cannot change reconfiguration type from ${from} to ${to}.`,
    );
  }
}

// Merges changes into the service configuration; new shares when the threshold changes.
function updateServiceConfig(changes) {
  const config = readServiceConfig();
  checkNewReconfigurationType(
    config.reconfiguration_type,
    changes.reconfiguration_type,
  );
  checkNewThreshold(config.recovery_threshold, changes.recovery_threshold);
  const reshare =
    changes.recovery_threshold !== undefined &&
    changes.recovery_threshold !== config.recovery_threshold;
  for (const key of [
    "reconfiguration_type",
    "recovery_threshold",
    "recent_cose_proposals_window_size",
  ]) {
    if (changes[key] !== undefined) {
      config[key] = changes[key];
    }
  }
  writeJson("public:ccf.gov.service.config", getSingletonKvKey(), config);
  if (reshare) {
    ccf.node.triggerRecoverySharesRefresh();
  }
}
