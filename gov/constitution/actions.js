// An action has two halves: validate(args) throws when the arguments are wrong, before
// anything is recorded; apply(args, proposalId) makes the change, and throws when the
// state does not allow it, which undoes the whole proposal.
class Action {
  constructor(validate, apply) {
    this.validate = validate;
    this.apply = apply;
  }
}

const actions = new Map();

function define(name, validate, apply) {
  actions.set(name, new Action(validate, apply));
}

const noCheck = () => {};

function applyAll(proposed, proposalId) {
  for (const { name, args } of proposed) {
    actions.get(name).apply(args, proposalId);
  }
}
