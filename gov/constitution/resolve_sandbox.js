// Accepted at once, without a vote: for development only.
export function resolve(proposal, proposerId, votes) {
  return "Accepted";
}
