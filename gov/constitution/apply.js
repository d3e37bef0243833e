// Called once, when a proposal is accepted. Whatever throws undoes all of it.
export function apply(proposal, proposalId) {
  applyAll(JSON.parse(proposal).actions, proposalId);
}
