// Accepted by more than half of the active members; otherwise open until withdrawn.
export function resolve(proposal, proposerId, votes) {
  return hasMajority(votes) ? "Accepted" : "Open";
}
