// Accepted by more than half of the active members, rejected by any one vote against.
export function resolve(proposal, proposerId, votes) {
  if (votes.some((v) => !v.vote)) {
    return "Rejected";
  }
  return hasMajority(votes) ? "Accepted" : "Open";
}
