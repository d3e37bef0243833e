// Called once, when a proposal is accepted. What is locked is queued, all or nothing.
export function apply(proposal, proposalId) {
  if (isLocked(proposal)) {
    enqueue(proposal, proposalId);
    return;
  }
  for (const { name, args } of JSON.parse(proposal).actions) {
    actions.get(name).apply(args, proposalId);
  }
}
