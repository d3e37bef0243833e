// Called once, when a proposal is accepted. What is locked is queued, all or nothing.
export function apply(proposal, proposalId) {
  const proposed = JSON.parse(proposal);
  if (isLocked(proposed)) {
    enqueue(proposed, proposalId);
  } else {
    applyAll(proposed.actions, proposalId);
  }
}
