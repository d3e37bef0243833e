// Package samples holds the sample applications. Each is a directory that
// `chancery app deploy` takes, and each is deployed by a test.
//
// The JavaScript logging application is embedded too, since `chancery up` deploys it
// where no other one is named.
package samples

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed logging/js
var files embed.FS

// Logging returns the directory of the logging application in JavaScript.
func Logging() fs.FS {
	dir, err := fs.Sub(files, "logging/js")
	if err != nil {
		panic(fmt.Sprintf("samples: %v", err)) // the path is a constant
	}
	return dir
}
