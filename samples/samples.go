// Package samples holds the sample applications. Each is a directory that
// `chancery app deploy` takes, and each is deployed by a test.
//
// Those that `chancery app init` begins a new application with, and the JavaScript
// logging application, which `chancery up` deploys where no other one is named, are
// embedded too.
package samples

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed logging/js empty banking types
var files embed.FS

// Logging returns the directory of the logging application in JavaScript.
func Logging() fs.FS { return sub("logging/js") }

// templates are what a new application can begin with.
var templates = map[string]string{"empty": "empty", "logging": "logging/js", "banking": "banking"}

// Template returns the directory of what a new application of the kind begins with:
// empty, logging or banking.
func Template(kind string) (fs.FS, bool) {
	dir, ok := templates[kind]
	if !ok {
		return nil, false
	}
	return sub(dir), true
}

// Types returns the directory of what editors need: the types of the global objects, of
// those of tests, and the JSON Schema of app.json.
func Types() fs.FS { return sub("types") }

func sub(name string) fs.FS {
	dir, err := fs.Sub(files, name)
	if err != nil {
		panic(fmt.Sprintf("samples: %v", err)) // the paths are constants
	}
	return dir
}
