// Package nodelog writes a node's log in CCF's two layouts, as a slog.Handler.
//
// Text, one line per record:
//
//	2024-11-04T14:40:27.733657Z 0   [info ][gov] node/run.go:120                  | message key=value
//
// that is: UTC time with microseconds, thread (always 0), level as five characters,
// the tag if the logger has one, file and line padded so that the bar stands in one
// column, message, attributes.
//
// JSON, one object per line, with CCF's members first and the attributes after them:
//
//	{"h_ts":"...","thread_id":"0","level":"info","tag":"gov","file":"node/run.go","number":"120","msg":"message","key":"value"}
//
// A node's JSON records also say which node, in which view, and of a request at which
// transaction (Context): "node", "view", "txid".
//
// # Levels
//
// CCF has five. slog's Debug and Info are debug and info; Warn and Error are both fail,
// since scripts collect fail lines as errors; LevelTrace and LevelFatal are the ends.
//
// # Tag
//
// The attribute named "tag" (TagKey) is the component in brackets: "gov", "js", "app".
//
// # What cannot happen
//
// A record is one line, whatever is in it: control characters in messages, keys and
// values are written as Go escapes, invalid UTF-8 as \x.., so that no client can forge
// a line. Records are written by one Write call each and never interleave.
package nodelog
