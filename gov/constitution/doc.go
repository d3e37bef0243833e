// Package constitution holds the rules by which a consortium governs its service, as
// JavaScript: which proposals there are, what their arguments must be, when one is
// accepted, and what it then does.
//
// A constitution is one JavaScript module that exports
//
//	validate(input)                                     -> {valid, description}
//	resolve(proposal, proposerId, votes, proposalId?)   -> "Open" | "Accepted" | "Rejected"
//	apply(proposal, proposalId)
//
// where input and proposal are the text of the proposal and votes an array of
// {member_id, vote}. It is put together from fragments, in the order of their names in a
// variant's list, joined by newlines. The actions have the names, arguments and error
// texts of CCF's default constitution, so that proposals written for CCF pass unchanged,
// and its fragments that add actions (by actions.set(name, new Action(validate, apply)))
// can follow ours in a node's list of constitution files.
//
// The variants differ in resolve alone, and timelock in apply:
//
//	default    more than half of the active members
//	sandbox    accepted at once; for development
//	unanimous  every active member; one vote against rejects
//	veto       more than half; one vote against rejects
//	operator   as default, and operators alone may trust and remove nodes
//	timelock   as default, but what is accepted takes effect only after a day
//
// Each is also there with "+virtual" (the join policy of virtual nodes) and with "+roles"
// (set_role_definition) after its name, in this order: "default+virtual+roles".
package constitution
