// Time-locked: what members accept takes effect later, so that everybody concerned sees
// it coming and can act (object, cancel, move their data) before it does. An accepted
// proposal is queued with the moment from which it may run; any member then runs it by
// execute_queued, and the members can still call it off by cancel_queued.
//
// The moment is told by the clock of the primary's host, which its operator can set: the
// lock protects from members who act in haste or in collusion, not from an operator in
// league with a majority of them. Moment and text of all that waits stand in the public
// table below, and so in the ledger.
const TIMELOCK_QUEUE = "public:ccf.gov.chancery.timelock.queue";
const TIMELOCK_DELAY = "public:ccf.gov.chancery.timelock.delay";
const DEFAULT_TIMELOCK_SECONDS = 24 * 60 * 60;

// What keeps the service running, changes nobody's rights, and can't wait.
const UNLOCKED_ACTIONS = [
  "assert_service_identity",
  "cancel_queued",
  "execute_queued",
  "remove_node",
  "set_node_certificate_validity",
  "set_all_nodes_certificate_validity",
  "set_node_data",
  "set_service_certificate_validity",
  "transition_node_to_trusted",
  "transition_service_to_open",
  "trigger_ledger_chunk",
  "trigger_ledger_rekey",
  "trigger_recovery_shares_refresh",
  "trigger_snapshot",
];

function timelockSeconds() {
  return (
    readJson(TIMELOCK_DELAY, getSingletonKvKey()) ?? DEFAULT_TIMELOCK_SECONDS
  );
}

// A service that is not open has no users whom a lock could warn.
function isLocked(proposal) {
  return (
    readService().status === "Open" &&
    proposal.actions.some((a) => UNLOCKED_ACTIONS.indexOf(a.name) < 0)
  );
}

function queued(proposalId) {
  const entry = readJson(TIMELOCK_QUEUE, ccf.strToBuf(proposalId));
  if (entry === undefined) {
    throw new Error(`Proposal ${proposalId} does not wait to be executed`);
  }
  return entry;
}

function enqueue(proposal, proposalId) {
  writeJson(TIMELOCK_QUEUE, ccf.strToBuf(proposalId), {
    not_before: Math.floor(Date.now() / 1000) + timelockSeconds(),
    proposal,
  });
}

function dequeue(proposalId) {
  ccf.kv[TIMELOCK_QUEUE].delete(ccf.strToBuf(proposalId));
}

define(
  "execute_queued",
  (args) => {
    checkEntityId(args.proposal_id, "proposal_id");
    const left = queued(args.proposal_id).not_before - Date.now() / 1000;
    if (left > 0) {
      throw new Error(
        `Proposal ${args.proposal_id} is locked for another ${Math.ceil(left)} seconds`,
      );
    }
  },
  (args) => {
    const waiting = queued(args.proposal_id).proposal.actions;
    dequeue(args.proposal_id);
    // The state may have changed since it was accepted.
    for (const action of waiting) {
      actions.get(action.name).validate(action.args);
    }
    applyAll(waiting, args.proposal_id);
  },
);

define(
  "cancel_queued",
  (args) => {
    checkEntityId(args.proposal_id, "proposal_id");
    queued(args.proposal_id);
  },
  (args) => dequeue(args.proposal_id),
);

define(
  "set_timelock",
  (args) => {
    checkType(args.seconds, "integer", "seconds");
    checkBounds(args.seconds, 60, 90 * 24 * 60 * 60, "seconds");
  },
  (args) => writeJson(TIMELOCK_DELAY, getSingletonKvKey(), args.seconds),
);
