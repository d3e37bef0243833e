// Called once, when a proposal is accepted. Whatever throws undoes all of it.
export function apply(proposal, proposalId) {
  for (const { name, args } of JSON.parse(proposal).actions) {
    actions.get(name).apply(args, proposalId);
  }
}
