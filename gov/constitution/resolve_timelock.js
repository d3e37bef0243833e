// Accepted by more than half of the active members, as default. Running what was accepted
// before, once its lock has ended, needs no further vote.
export function resolve(proposal, proposerId, votes) {
  const proposed = JSON.parse(proposal).actions;
  if (
    proposed.length > 0 &&
    proposed.every((a) => a.name === "execute_queued")
  ) {
    return "Accepted";
  }
  return hasMajority(votes) ? "Accepted" : "Open";
}
