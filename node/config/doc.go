// Package config reads the configuration file of a node: CCF 7.0's JSON file, key
// for key, and one object of our own beside it.
//
// # Form
//
// The file is one JSON object. Parse is strict: a key that does not exist, a key
// given twice, a value of the wrong type, a unit that does not exist, a number out
// of its range are all refused, each named by its path
// ("command.start.members[0].certificate_file"), an unknown key together with the
// nearest one that exists. All problems of a file are reported at once.
//
// A key that CCF knows and that this program cannot honour is refused by name: it is
// never ignored. Keys whose CCF meaning has no counterpart here and no effect that
// anybody could see (the sizes of CCF's ring buffers, its tick) are read, checked and
// left at that; each says so in its comment.
//
// # Units
//
//	time   a whole number and one of us, ms, s, min, h; without a unit microseconds
//	size   a whole number and one of B, KB, MB, GB, TB, PB (powers of 1024); without
//	       a unit bytes
//
// Units are case-insensitive. The text "None" stands for "not given" in times, sizes
// and file names, since the templates that CCF's tools render print it there.
//
// # Ours
//
// What CCF does not have lives in the object "chancery"; a CCF file without it is
// complete and means what it means to CCF. command.type knows, beside CCF's Start,
// Join and Recover, the development command Resume.
//
// # Rules in tags
//
// The structs are the definition. A field's json tag is its key, its config tag the
// rules: required, nullable (JSON null is accepted and means absent), none ("None"
// means absent), min=N, max=N. A type that has an Enum method takes only the strings
// it returns; one with a Refused method says why a value that CCF has is not taken.
// docs/chanceryd.schema.json is made from the same tags and from the fields' comments
// (go test ./node/config -run Schema -update), and a test holds the two together.
package config
