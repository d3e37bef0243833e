// The service as a whole: constitution, configuration, opening, recovery, ledger.

define(
  "set_constitution",
  (args) => {
    checkType(args.constitution, "string", "constitution");
    ccf.gov.validateConstitution(args.constitution);
    ccf.gov.dryRunConstitution?.(args.constitution); // absent on CCF
  },
  (args, proposalId) => {
    writeJson(
      "public:ccf.gov.constitution",
      getSingletonKvKey(),
      args.constitution,
    );
    invalidateOtherOpenProposals(proposalId);
  },
);

define(
  "set_recovery_threshold",
  (args) => {
    checkType(args.recovery_threshold, "integer", "threshold");
    checkBounds(args.recovery_threshold, 1, 254, "threshold");
  },
  (args) => updateServiceConfig(args),
);

define(
  "set_service_configuration",
  (args) => {
    for (const key in args) {
      if (
        key !== "reconfiguration_type" &&
        key !== "recovery_threshold" &&
        key !== "recent_cose_proposals_window_size"
      ) {
        throw new Error(`Cannot change ${key} via set_service_configuration.`);
      }
    }
    checkType(args.reconfiguration_type, "string?", "reconfiguration type");
    checkType(args.recovery_threshold, "integer?", "recovery threshold");
    checkBounds(args.recovery_threshold, 1, 254, "recovery threshold");
    const window = args.recent_cose_proposals_window_size;
    checkType(window, "integer?", "recent cose proposals window size");
    checkBounds(window, 1, 10000, "recent cose proposals window size");
  },
  (args) => updateServiceConfig(args),
);

define("trigger_recovery_shares_refresh", checkNone, () =>
  ccf.node.triggerRecoverySharesRefresh(),
);

define("trigger_ledger_rekey", checkNone, () => ccf.node.triggerLedgerRekey());

define("trigger_ledger_chunk", noCheck, () => ccf.node.triggerLedgerChunk());

define("trigger_snapshot", noCheck, () => ccf.node.triggerSnapshot());

define(
  "transition_service_to_open",
  (args) => {
    const next = args.next_service_identity;
    const previous = args.previous_service_identity;
    checkType(next, "string", "next service identity (PEM certificate)");
    checkX509CertBundle(next, "next_service_identity");
    checkType(previous, "string?", "previous service identity (PEM certificate)");
    if (previous !== undefined) {
      checkX509CertBundle(previous, "previous_service_identity");
    }
  },
  (args) => {
    const next = args.next_service_identity;
    const previous = args.previous_service_identity;
    if (
      readService().status === "Recovering" &&
      (previous === undefined || next === undefined)
    ) {
      throw new Error(
        "Opening a recovering network requires both, the previous and the next service identity",
      );
    }
    ccf.node.transitionServiceToOpen(
      previous === undefined ? undefined : ccf.strToBuf(previous),
      ccf.strToBuf(next),
    );
  },
);

define(
  "assert_service_identity",
  (args) => {
    checkX509CertBundle(args.service_identity, "service_identity");
    if (readService().cert !== args.service_identity) {
      throw new Error("Service identity certificate mismatch");
    }
  },
  () => {},
);

define("set_service_certificate_validity", checkValidity, (args) => {
  const days = allowedDays(
    args.validity_period_days,
    readServiceConfig().maximum_service_certificate_validity_days,
    "service",
  );
  const service = readService();
  service.cert = ccf.network.generateNetworkCertificate(args.valid_from, days);
  writeJson("public:ccf.gov.service.info", getSingletonKvKey(), service);
});
