// Members and users.

define(
  "set_member",
  (args) => {
    checkX509CertBundle(args.cert, "cert");
    checkType(args.member_data, "object?", "member_data");
    const role = args.recovery_role;
    if (role !== undefined) {
      checkEnum(role, ["NonParticipant", "Participant", "Owner"], "recovery_role");
    }
    if ((args.encryption_pub_key ?? null) === null && (role ?? null) !== null) {
      throw new Error(
        "Cannot specify a recovery_role value when encryption_pub_key is not specified",
      );
    }
  },
  (args) => {
    const key = ccf.strToBuf(ccf.pemToId(args.cert));
    ccf.kv["public:ccf.gov.members.certs"].set(key, ccf.strToBuf(args.cert));

    const keys = ccf.kv["public:ccf.gov.members.encryption_public_keys"];
    if ((args.encryption_pub_key ?? null) === null) {
      keys.delete(key);
    } else {
      keys.set(key, ccf.strToBuf(args.encryption_pub_key));
    }

    // Who is set anew has to acknowledge the state anew.
    writeJson("public:ccf.gov.members.info", key, {
      member_data: args.member_data,
      recovery_role: args.recovery_role,
      status: "Accepted",
    });
    const signature = readJson(
      "public:ccf.internal.signatures",
      getSingletonKvKey(),
    );
    writeJson("public:ccf.gov.members.acks", key, {
      state_digest: signature === undefined ? "" : signature.root,
    });
  },
);

define(
  "remove_member",
  (args) => checkEntityId(args.member_id, "member_id"),
  (args) => {
    const key = ccf.strToBuf(args.member_id);
    const info = readJson("public:ccf.gov.members.info", key);
    if (info === undefined) {
      return;
    }
    // Only active members can activate others by their votes: one must stay.
    if (info.status === "Active" && countActiveMembers() === 1) {
      throw new Error(
        `Member ${args.member_id} is the last active member: nobody could govern the service`,
      );
    }
    // A holder of a share leaves: enough others must stay, and what the share opens
    // must not open what is written from now on.
    const holdsShare =
      info.status === "Active" && isRecoveryMember(args.member_id);
    if (holdsShare) {
      const threshold = readServiceConfig().recovery_threshold;
      const left = getActiveRecoveryMembersCount() - 1;
      if (left < threshold) {
        throw new Error(
          `Number of active recovery members (${left}) would be less than recovery threshold (${threshold})`,
        );
      }
    }
    for (const table of [
      "public:ccf.gov.members.info",
      "public:ccf.gov.members.encryption_public_keys",
      "public:ccf.gov.members.certs",
      "public:ccf.gov.members.acks",
      "public:ccf.gov.history",
    ]) {
      ccf.kv[table].delete(key);
    }
    if (holdsShare) {
      ccf.node.triggerLedgerRekey();
    }
  },
);

define(
  "set_member_data",
  (args) => {
    checkEntityId(args.member_id, "member_id");
    checkType(args.member_data, "object", "member_data");
  },
  (args) => {
    const info = getMemberInfo(args.member_id);
    if (info === undefined) {
      throw new Error(`Member ${args.member_id} does not exist`);
    }
    info.member_data = args.member_data;
    writeJson("public:ccf.gov.members.info", ccf.strToBuf(args.member_id), info);
  },
);

// Data of null or undefined removes what was there.
function putUserData(key, data) {
  if (data !== null && data !== undefined) {
    writeJson("public:ccf.gov.users.info", key, { user_data: data });
  } else {
    ccf.kv["public:ccf.gov.users.info"].delete(key);
  }
}

define(
  "set_user",
  (args) => {
    checkX509CertBundle(args.cert, "cert");
    checkType(args.user_data, "object?", "user_data");
  },
  (args) => {
    const key = ccf.strToBuf(ccf.pemToId(args.cert));
    ccf.kv["public:ccf.gov.users.certs"].set(key, ccf.strToBuf(args.cert));
    putUserData(key, args.user_data);
  },
);

define(
  "remove_user",
  (args) => checkEntityId(args.user_id, "user_id"),
  (args) => {
    const key = ccf.strToBuf(args.user_id);
    ccf.kv["public:ccf.gov.users.certs"].delete(key);
    ccf.kv["public:ccf.gov.users.info"].delete(key);
  },
);

define(
  "set_user_data",
  (args) => {
    checkEntityId(args.user_id, "user_id");
    checkType(args.user_data, "object?", "user_data");
  },
  (args) => putUserData(ccf.strToBuf(args.user_id), args.user_data),
);
