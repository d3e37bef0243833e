// Accepted by more than half of the active members; otherwise open until withdrawn.
export function resolve(proposal, proposerId, votes) {
  const inFavour = votes.filter((v) => v.vote).length;
  return inFavour > Math.floor(countActiveMembers() / 2) ? "Accepted" : "Open";
}
