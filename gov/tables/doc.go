// Package tables is the schema of a service: every built-in map by name, with the
// type of its keys and values and the bytes that stand in the ledger.
//
// # Encodings
//
// A key is the raw bytes of a string (ids are 64 lower-case hex digits, TxIDs and
// timestamps decimal text). A table that holds one value has it under [SingletonKey],
// eight zero bytes. Three kinds of values exist:
//
//   - JSON, as CCF's own serialiser writes it: UTF-8, no white space, the members of an
//     object sorted bytewise by name, optional members left out when they have their
//     default, control characters, quote and backslash escaped and nothing else.
//     [Marshal] writes this form. Rows that a constitution writes (members.info after
//     set_member, say) are JSON.stringify's text instead, in the order in which the
//     script set the members, so readers must not depend on the order.
//   - raw: PEM text, JavaScript source, bytes as they are.
//   - unit: eight zero bytes, the value of a set.
//
// # Handles
//
// [Map] and [Value] tie a name to its value type. They read from anything that has the
// read methods of a *kv.Tx, and write to a *kv.Tx:
//
//	info, ok, err := tables.MembersInfo.Get(tx, id)
//	err = tables.MembersInfo.Put(tx, id, tables.Member{Status: tables.MemberActive})
//
// A value that does not decode is an error that names table and key: it means that a
// constitution or another implementation wrote something that this schema does not know.
package tables
