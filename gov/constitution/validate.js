// Called with the text of a proposal before anything is recorded. All that is wrong
// with it is reported at once.
export function validate(input) {
  const problems = [];
  let position = 0;
  for (const { name, args } of JSON.parse(input).actions) {
    const action = actions.get(name);
    if (action === undefined) {
      problems.push(`${name}: no such action`);
    } else {
      try {
        action.validate(args);
      } catch (e) {
        problems.push(
          `${name} at position ${position} failed validation: ${e}\n${e.stack}`,
        );
      }
    }
    position++;
  }
  return { valid: problems.length === 0, description: problems.join(", ") };
}
