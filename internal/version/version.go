// Package version names the release that a program was built from.
package version

import "runtime/debug"

// Release is the version of this source tree; CHANGELOG.md begins with it.
const Release = "0.1.0"

// String returns the release, followed by the commit it was built from where the
// build recorded one: "0.1.0 (1f2e3d4c5b6a, modified)".
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Release
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = ", modified"
			}
		}
	}
	if len(revision) < 12 {
		return Release
	}
	return Release + " (" + revision[:12] + modified + ")"
}
