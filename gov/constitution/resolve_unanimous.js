// Accepted when every active member is in favour, rejected by the first who is not.
export function resolve(proposal, proposerId, votes) {
  if (votes.some((v) => !v.vote)) {
    return "Rejected";
  }
  const inFavour = votes.length;
  return inFavour > 0 && inFavour >= countActiveMembers() ? "Accepted" : "Open";
}
