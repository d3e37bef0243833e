// Package appbuild makes an application's bundle, the argument of the governance
// action set_js_app, from the directory that its developer works in.
//
// An application is a directory with app.json, which names its endpoints, and src/
// with ES modules:
//
//	app.json
//	src/a.js
//	src/b/c.js
//
// Where src holds JavaScript only and imports nothing by a bare name, each file becomes
// a module of the bundle as it stands, so that members read what the developer wrote.
// TypeScript, and imports from node_modules, are linked by esbuild: then each module
// that app.json names becomes one self-contained module, from src/NAME.ts or NAME.js.
//
// A linked module carries a source map without sources, by which the service names the
// developer's files and lines in traces.
//
// Tests are the files of test/ whose names end in .test.js or .test.ts. Each is linked
// with what it imports and is no part of the bundle.
//
// esbuild strips types and does not check them; that is the compiler's work (tsc).
package appbuild
