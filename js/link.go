package js

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dop251/goja"
	"github.com/evanw/esbuild/pkg/api"
)

// MaxSourceBytes bounds one module: parsers recurse, and their stack grows with it.
const MaxSourceBytes = 4 << 20

// unsupported are the features of the language that esbuild rewrites since goja lacks
// them. All others are left as they are, which keeps code small and positions exact.
var unsupported = map[string]bool{
	"arbitrary-module-namespace-names": false,
	"async-generator":                  false,
	"for-await":                        false,
	"decorators":                       false,
	"using":                            false,
	"regexp-match-indices":             false,
	"regexp-set-notation":              false,
	"import-attributes":                false,
	"top-level-await":                  false,
	"hashbang":                         false,
	"class-private-brand-check":        false,
}

// resolve is the module identity that specifier has for an importer of the identity
// base. The rule is QuickJS's: a name that does not begin with a dot stands for
// itself; leading "./" and "../" are taken off the importer's folder, nothing else is
// normalised. What is loaded for an identity is the module of that name with a
// leading slash.
func resolve(base, specifier string) string {
	if !strings.HasPrefix(specifier, ".") {
		return specifier
	}
	dir := ""
	if i := strings.LastIndexByte(base, '/'); i >= 0 {
		dir = base[:i]
	}
	for {
		if rest, ok := strings.CutPrefix(specifier, "./"); ok {
			specifier = rest
			continue
		}
		rest, ok := strings.CutPrefix(specifier, "../")
		if !ok || dir == "" {
			break
		}
		last := dir[strings.LastIndexByte(dir, '/')+1:]
		if last == "." || last == ".." {
			break
		}
		dir = strings.TrimSuffix(strings.TrimSuffix(dir, last), "/")
		specifier = rest
	}
	if dir == "" {
		return specifier
	}
	return dir + "/" + specifier
}

// key is the name under which the modules table holds a module of the identity.
func key(identity string) string {
	if strings.HasPrefix(identity, "/") {
		return identity
	}
	return "/" + identity
}

// linked is one entry module with everything that it imports, as one script whose
// value is a function that returns the entry's exports by name.
type linked struct {
	program *goja.Program
	inputs  []string // keys of the modules in it
	exports []string // names that the entry exports

	// constant: evaluated once, with the objects of its top level frozen, it serves any
	// number of calls (see constantNames).
	constant bool

	patches atomic.Bool // it changes built-ins, and needs an interpreter of its own
}

// loader returns the text of a module by its key; ok is false where there is none.
type loader func(key string) (text string, ok bool)

// linker holds what the callbacks of one esbuild run share.
type linker struct {
	entry string
	load  loader

	mu    sync.Mutex
	seen  map[string]bool // keys of what was loaded
	fault error           // the first error of ours
}

// namespace marks the modules of a bundle for esbuild.
const namespace = "module"

// entryPoint is what esbuild is told to begin with, in place of the entry's name: it looks
// for files of such names, and reads patterns into them.
const entryPoint = "entry"

// link compiles the module of the identity entry. The returned error is an
// *Exception whose reason names the module and the line.
func link(entry string, load loader) (*linked, error) {
	l := &linker{entry: entry, load: load, seen: make(map[string]bool)}
	result := api.Build(api.BuildOptions{
		EntryPoints:       []string{entryPoint},
		Bundle:            true,
		Write:             false,
		Outfile:           "/out.js",
		Format:            api.FormatESModule,
		Target:            api.ESNext,
		Supported:         unsupported,
		Platform:          api.PlatformNeutral,
		Charset:           api.CharsetUTF8,
		Sourcemap:         api.SourceMapExternal,
		SourcesContent:    api.SourcesContentExclude,
		LegalComments:     api.LegalCommentsNone,
		IgnoreAnnotations: true,
		TreeShaking:       api.TreeShakingTrue,
		Metafile:          true,
		LogLevel:          api.LogLevelSilent,
		LogOverride:       map[string]api.LogLevel{"direct-eval": api.LogLevelSilent},
		Plugins:           []api.Plugin{{Name: "ledger", Setup: l.setup}},
	})
	if l.fault != nil {
		return nil, l.fault
	}
	if len(result.Errors) > 0 {
		return nil, syntaxError(result.Errors[0])
	}
	script, exports, err := wrap(result)
	if err != nil {
		return nil, err
	}
	text := script.text(nil)
	names, constant := constantNames(text)
	if constant {
		text = script.text(names)
	}
	program, err := compileScript(entry, text+script.sourceMap)
	if err != nil {
		return nil, err
	}
	out := &linked{program: program, exports: exports, constant: constant}
	out.patches.Store(patches.MatchString(text))
	for k := range l.seen {
		out.inputs = append(out.inputs, k)
	}
	return out, nil
}

func (l *linker) setup(b api.PluginBuild) {
	b.OnResolve(api.OnResolveOptions{Filter: ".*"}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
		identity := l.entry
		if a.Kind != api.ResolveEntryPoint {
			identity = resolve(a.Importer, a.Path)
		}
		return api.OnResolveResult{Path: identity, Namespace: namespace}, nil
	})
	b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: namespace}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
		text, err := l.source(a.Path)
		if err != nil {
			return api.OnLoadResult{}, err
		}
		return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, nil
	})
}

// source loads and checks a module. esbuild calls it from several goroutines, one at
// a time for each path; the bundles behind load are immutable.
func (l *linker) source(identity string) (string, error) {
	k := key(identity)
	text, ok := l.load(k)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[k] = true
	var err error
	switch {
	case !ok:
		err = &Exception{Reason: fmt.Sprintf("Module '%s' could not be loaded", identity)}
	case len(text) > MaxSourceBytes:
		err = &Exception{Reason: fmt.Sprintf("Module '%s' is larger than %d bytes", identity, MaxSourceBytes)}
	default:
		err = scanSource(identity, text)
	}
	if err != nil && l.fault == nil {
		l.fault = err
	}
	return text, err
}

// errNotModule is what a bundle without the expected form of esbuild's output gives.
var errNotModule = errors.New("linking gave no script")

// bundled is esbuild's output in the parts from which a script is made.
type bundled struct {
	code      string // all modules, without the list of exports
	cases     string // the exports, as cases of a switch over names
	sourceMap string // the comment that goja reads, "" for none
}

// constantsName is the name, which no export can have, under which a constant script
// gives the objects of its top level.
const constantsName = "*"

// text is a strict function, called at once, that returns a function from names to
// exports, and from constantsName to the values of the given bindings.
func (b *bundled) text(constants []string) string {
	cases := b.cases
	if constants != nil {
		cases += fmt.Sprintf("case %q: return [%s]; ", constantsName, strings.Join(constants, ", "))
	}
	return "(function () { \"use strict\";\n" + b.code + "\nreturn (name) => { switch (name) { " + cases + "} };\n})()"
}

// wrap takes esbuild's ES module apart. The source map is made to fit text, so that
// positions are those of the modules as they were deployed.
func wrap(result api.BuildResult) (out *bundled, names []string, err error) {
	var code, sourceMap string
	for _, f := range result.OutputFiles {
		if strings.HasSuffix(f.Path, ".map") {
			sourceMap = string(f.Contents)
		} else {
			code = string(f.Contents)
		}
	}
	var meta struct {
		Outputs map[string]struct {
			Exports []string `json:"exports"`
		} `json:"outputs"`
	}
	if err := json.Unmarshal([]byte(result.Metafile), &meta); err != nil {
		return nil, nil, fmt.Errorf("reading the linker's metafile: %w", err)
	}
	var exports string
	for name, o := range meta.Outputs {
		if strings.HasSuffix(name, ".map") || len(o.Exports) == 0 {
			continue
		}
		// The export list is esbuild's own, and the last statement of its output.
		i := strings.LastIndex(code, "export {")
		if i < 0 {
			return nil, nil, errNotModule
		}
		names = o.Exports
		exports = exportCases(code[i+len("export {"):])
		code = code[:i]
	}
	if sourceMap != "" {
		mapped, err := inlineMap(sourceMap)
		if err != nil {
			return nil, nil, err
		}
		sourceMap = mapped
	}
	return &bundled{code: code, cases: exports, sourceMap: sourceMap}, names, nil
}

// exportCases turns "a, b as c };" into the cases of a switch over names.
func exportCases(list string) string {
	list, _, _ = strings.Cut(list, "}")
	var b strings.Builder
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		local, exported, ok := strings.Cut(item, " as ")
		if !ok {
			exported = local
		}
		fmt.Fprintf(&b, "case %q: return %s; ", strings.TrimSpace(exported), strings.TrimSpace(local))
	}
	return b.String()
}
