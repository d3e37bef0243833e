// Operators run the nodes and have no say in anything else. A member is one when its
// data says is_operator and it holds no encryption key, so that it can never have a
// share. What operators propose about nodes alone is accepted at once: to trust a node,
// which only passes if its attestation already fits the join policy, and to remove one.
// Everything else needs more than half of the active members that are no operators.
const OPERATOR_ACTIONS = ["transition_node_to_trusted", "remove_node"];

function isOperator(memberId) {
  const info = getMemberInfo(memberId);
  return (
    !isRecoveryMember(memberId) && Boolean(info?.member_data?.is_operator)
  );
}

export function resolve(proposal, proposerId, votes) {
  const proposed = JSON.parse(proposal).actions;
  if (
    isOperator(proposerId) &&
    proposed.length > 0 &&
    proposed.every((a) => OPERATOR_ACTIONS.indexOf(a.name) >= 0)
  ) {
    return "Accepted";
  }
  const counts = (memberId) => !isOperator(memberId);
  return hasMajority(votes, counts) ? "Accepted" : "Open";
}
