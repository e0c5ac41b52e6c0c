// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package podid_test holds the rules of the house that no compiler checks: which room may import which, what a package has
// to say about itself, which licences may be linked, how every file begins and how long it may grow. Each rule carries its
// reason, and so does each exception. It owns no behaviour: what podid does is tested where it is done.
package podid_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "podid"

// A layer is a floor of the house; arrows run downwards only.
type layer string

const (
	ground   layer = "ground floor"
	domain   layer = "domain"
	useCase  layer = "use case"
	codec    layer = "codec"
	wire     layer = "wire"
	storage  layer = "storage"
	assembly layer = "assembly"
	cluster  layer = "cluster side"
	command  layer = "command"
	apiTypes layer = "api types"
)

// rooms gives every package its layer; the longest matching prefix wins, so a room's inner rooms need no line of their own.
// A package without a room fails the test: where a new one stands has to be decided, here.
var rooms = map[string]layer{
	"api": apiTypes,

	"internal/fault": ground, "internal/arn": ground, "internal/reqctx": ground, "internal/sigv4": ground, "internal/seal": ground,
	"internal/jwt": ground, "internal/jwks": ground, "internal/secret": ground, "internal/store": ground, "internal/uuid": ground, "internal/resident": ground, "internal/compactjson": ground,

	"internal/account": domain, "internal/policy": domain, "internal/satoken": domain, "internal/keyring": domain,
	"internal/cluster": domain, "internal/association": domain, "internal/iam": domain, "internal/session": domain, "internal/revocation": domain,
	"internal/addon": domain, "internal/refusal": domain, "internal/stack": domain, "internal/accessentry": domain,

	"internal/authn": useCase, "internal/authz": useCase, "internal/authmsg": useCase, "internal/sts": useCase, "internal/exchange": useCase,
	"internal/issuer": useCase, "internal/tokenreview": useCase, "internal/stackrun": useCase, "internal/feed": useCase, "internal/audit": useCase,

	"internal/api/call": codec, "internal/api/restjson": codec, "internal/api/awsquery": codec,
	"internal/api": wire, "internal/console": wire,

	"internal/store/etcd": storage, "internal/store/etcdembed": storage, "internal/store/memory": storage,
	"internal/store/storetest": storage,

	"internal/server": assembly, "internal/serverconfig": assembly, "internal/controlplane": assembly,

	"internal/agent": cluster, "internal/operator": cluster, "internal/cli": cluster,

	// The one process that holds both sides of the wire, for `podid dev`.
	"internal/dev": command,
	// What a server does for the cluster that it runs in, over its own wire.
	"internal/homecluster": command,
	"cmd":                  command,
}

// layerMay says which layers a layer may import, its own included where named.
var layerMay = map[layer]struct {
	may []layer
	why string
}{
	ground:   {nil, "the ground floor imports nothing of ours"},
	domain:   {[]layer{domain, ground}, "the domain is nouns and rules: it knows no use case, wire format, store implementation or assembly"},
	useCase:  {[]layer{useCase, domain, ground}, "a use case is called by the wire and assembled above; it knows neither"},
	codec:    {[]layer{codec, useCase, domain, ground}, "the way of a call is the same for every service: it knows none of them"},
	wire:     {[]layer{codec, useCase, domain, ground}, "the wire decodes, calls a verb and encodes; it never reaches a store or another service's wire"},
	storage:  {[]layer{storage, domain, ground}, "storage points at the domain, never back and never up"},
	assembly: {[]layer{assembly, storage, wire, codec, useCase, domain, ground}, "assembly knows all server rooms and nothing of the cluster side"},
	cluster:  {[]layer{cluster, apiTypes}, "the cluster side speaks only the wire: every test across that line is a compatibility test"},
	command:  {[]layer{command, assembly, cluster, domain, ground}, "a command wires by name: stores, use cases and services are reached through controlplane"},
	apiTypes: {nil, "CRD types are for everybody's import and stand alone"},
}

// An arrow is a rule for one room beyond its layer's. From and the entries are package prefixes.
type arrow struct {
	From  string
	Only  []string // if not nil, the only packages of ours that From may import
	Never []string // packages of ours that From may never import
	Why   string
}

// services are the rooms that only the package of one AWS service may call.
var services = []string{
	"internal/association", "internal/cluster", "internal/exchange", "internal/issuer", "internal/keyring", "internal/policy",
	"internal/satoken", "internal/session", "internal/store", "internal/sts",
}

var arrows = []arrow{
	{From: "internal/policy", Only: []string{"internal/policy"}, Why: "the evaluator stands alone, so that anybody can grade it"},
	{From: "internal/policy/policytest", Only: []string{"internal/policy"}, Why: "the grader knows the evaluator only"},
	{From: "internal/policy/report", Only: []string{}, Why: "a form of report knows nothing of what is reported"},
	{From: "internal/policy/source", Only: []string{}, Why: "a reader of files knows nothing of what a document means"},
	{From: "internal/satoken", Only: []string{"internal/jwt", "internal/fault", "internal/secret", "internal/compactjson"}, Why: "a token is checked against given keys; which cluster they belong to is decided by the caller"},
	{From: "internal/session", Only: []string{"internal/keyring", "internal/policy", "internal/arn", "internal/fault", "internal/seal", "internal/secret"}, Why: "a sealed session carries what it needs; it is opened without a look-up"},
	{From: "internal/keyring", Never: []string{"internal/session", "internal/iam", "internal/policy"}, Why: "keys do not know what they sign"},
	{From: "internal/api/restjson", Never: services, Why: "a codec knows bytes, callers and faults, not what a service does"},
	{From: "internal/api/awsquery", Never: services, Why: "a codec knows bytes, callers and faults, not what a service does"},
	{From: "internal/api/call", Never: services, Why: "the way of a call is the same for every service"},
	{From: "internal/server", Never: []string{"internal/api", "internal/store", "internal/controlplane", "internal/exchange", "internal/iam"}, Why: "the listener mounts handlers that it is given"},
	{From: "internal/agent", Only: []string{"internal/agent"}, Why: "the agent speaks only the wire"},
	{From: "internal/operator", Only: []string{"internal/operator", "api"}, Why: "the operator speaks only the wire"},
	{From: "internal/cli", Only: []string{"internal/cli"}, Why: "the CLI is one more client; what it cannot do over the wire, nobody can"},
	{From: "cmd/podid-agent", Only: []string{"cmd/podid-agent", "internal/agent", "internal/resident"}, Why: "the node agent stays small"},
	{From: "cmd/podid-operator", Only: []string{"cmd/podid-operator", "internal/operator", "internal/resident", "api"}, Why: "the operator runs in each cluster and holds nothing of the server"},
}

// shared names rooms of the server side that one room across the wire imports too, each with the reason.
var shared = []struct{ from, to, why string }{
	{"internal/agent/podtoken", "internal/jwt", "a token is Kubernetes' format and not the wire between our two sides: one set of rules judges it on both (ADR 0009)"},
	{"internal/agent/podtoken", "internal/satoken", "as above"},
	{"internal/agent/credcache", "internal/resident", "the stack of a goroutine is neither side's"},
	{"internal/agent/credcache", "internal/compactjson", "what stands in a JSON string as it is, no side decides"},
	{"internal/agent/eksauthclient", "internal/compactjson", "a grammar and no format: which members an answer has, the agent says by itself"},
}

// linkedNever names modules that a command may not link, with the reason.
var linkedNever = []struct {
	command string
	modules []string
	why     string
}{
	{"cmd/podid-agent", []string{
		"go.etcd.io/", "sigs.k8s.io/controller-runtime", "k8s.io/client-go", "google.golang.org/grpc", "go.opentelemetry.io/otel", "podid/internal/store", "podid/internal/controlplane",
	}, "the agent runs on every node: its memory is paid many times over"},
	{"internal/cli", []string{"go.etcd.io/", "k8s.io/client-go", "podid/internal/controlplane"}, "the CLI's packages link only clients of the wire"},
}

// importedOnly names modules that few rooms import themselves, so that replacing one is a matter of those rooms.
var importedOnly = []struct {
	module string
	rooms  []string
	why    string
}{
	{"go.etcd.io", []string{"internal/store/etcd", "internal/store/etcdembed", "internal/store/storetest", "internal/controlplane"}, "everybody else sees the store's contract; assembly opens the connection"},
	{"github.com/go-jose/go-jose", []string{"internal/jwt/jwttest", "internal/dev", "internal/controlplane/controlplanetest"}, "internal/jwt verifies; what signs is podid dev and tests"},
	{"github.com/spf13/cobra", []string{"cmd", "internal/cli", "internal/dev"}, "commands are the business of programs"},
	{"github.com/aws/aws-sdk-go-v2", []string{
		"internal/issuer/awssts", "internal/cli", "internal/agent", "internal/operator", "internal/dev", "internal/homecluster", "internal/controlplane/controlplanetest", "cmd",
	}, "in the server one room is a client of AWS; the others are what AWS' clients speak to"},
	{"sigs.k8s.io/controller-runtime", []string{"internal/operator", "cmd/podid-operator"}, "the operator is the one program that lives by watching Kubernetes (ADR 0011)"},
	{"k8s.io/client-go", []string{"internal/operator", "cmd/podid-operator"}, "as above: the CLI and the agent have small clients of their own"},
	{"github.com/open-policy-agent/cert-controller", []string{"internal/operator/certs"}, "one room makes the webhook's certificates"},
	{"go.opentelemetry.io/proto", []string{"internal/agent/otlp"}, "one room speaks OTLP; what it pushes is what Prometheus' registry holds"},
	{"github.com/vishvananda/netlink", []string{"internal/agent/linklocal"}, "one room changes the node's network"},
}

// A goPackage is what `go list -json` says, as far as the rules need it.
type goPackage struct {
	ImportPath   string
	Dir          string
	Name         string
	GoFiles      []string
	Imports      []string
	IgnoredFiles []string `json:"IgnoredGoFiles"`
}

func (p goPackage) room() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func goList(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e"}, args...)...)
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "CGO_ENABLED=0", "GOOS=linux")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

func ourPackages(t *testing.T) []goPackage {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(goList(t, "-json=ImportPath,Dir,Name,GoFiles,IgnoredGoFiles,Imports", "./...")))
	var all []goPackage
	for {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
}

// within reports whether the package path is prefix or inside of it.
func within(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func withinAny(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return within(path, p) })
}

// layerOf finds the room with the longest matching prefix.
func layerOf(room string) (layer, bool) {
	for p := room; ; {
		if l, ok := rooms[p]; ok {
			return l, true
		}
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			return "", false
		}
		p = p[:i]
	}
}

// isTestSupport reports whether a room exists for tests: its name ends as the standard library's do (httptest, iotest).
func isTestSupport(room string) bool { return strings.HasSuffix(room, "test") }

// checkImport returns why from may not import to, or "" when it may.
func checkImport(from, to string) string {
	if from == "" || isExample(from) {
		return ""
	}
	fromLayer, ok := layerOf(from)
	if !ok {
		return "has no room in layout_test.go: decide which layer it belongs to"
	}
	toLayer, ok := layerOf(to)
	if !ok {
		return "imports " + to + ", which has no room in layout_test.go"
	}
	if isTestSupport(to) && !isTestSupport(from) && (!within(from, "cmd/podid") || to != "internal/policy/policytest") {
		return "imports " + to + ": test support is for tests (the CLI's `policy test` is the one exception)"
	}
	for _, s := range shared {
		if from == s.from && to == s.to {
			return ""
		}
	}
	// Test support of any server room may stand the whole server up, but stays on its side of the wire.
	rule := layerMay[fromLayer]
	supports := isTestSupport(from) && fromLayer != cluster && toLayer != cluster
	if !supports && !slices.Contains(rule.may, toLayer) {
		return fmt.Sprintf("(%s) imports %s (%s): %s", fromLayer, to, toLayer, rule.why)
	}
	if fromLayer == wire && toLayer == wire && !within(to, from) && !within(from, to) {
		return "imports " + to + ": API packages never import each other"
	}
	for _, a := range arrows {
		if !within(from, a.From) || (isTestSupport(from) && from != a.From) {
			continue
		}
		if a.Only != nil && !withinAny(to, a.Only) || withinAny(to, a.Never) {
			return fmt.Sprintf("imports %s: %s", to, a.Why)
		}
	}
	return ""
}

// isExample reports whether a room is a program that shows podid from outside: samples, demo and tests at the root.
func isExample(room string) bool { return withinAny(room, []string{"demo", "test", "examples"}) }

func TestArrows(t *testing.T) {
	for _, p := range ourPackages(t) {
		for _, imported := range p.Imports {
			if !within(imported, module) {
				continue
			}
			if why := checkImport(p.room(), strings.TrimPrefix(imported, module+"/")); why != "" {
				t.Errorf("%s %s", p.room(), why)
			}
		}
		if _, ok := layerOf(p.room()); !ok && p.room() != "" && !isExample(p.room()) {
			t.Errorf("%s has no room in layout_test.go: decide which layer it belongs to", p.room())
		}
	}
}

// TestArrowsRefuse shows that the rules bite: each line breaks one of them.
func TestArrowsRefuse(t *testing.T) {
	for _, tc := range []struct {
		name, from, to string
		refused        bool
	}{
		{"ground floor imports ours", "internal/arn", "internal/fault", true},
		{"domain imports ground", "internal/association", "internal/store", false},
		{"domain imports a store implementation", "internal/association", "internal/store/etcd", true},
		{"domain imports a use case", "internal/iam", "internal/authz", true},
		{"policy imports anything", "internal/policy", "internal/arn", true},
		{"policytest imports policy", "internal/policy/policytest", "internal/policy", false},
		{"policytest imports more", "internal/policy/policytest", "internal/iam", true},
		{"a form of report imports policy", "internal/policy/report", "internal/policy", true},
		{"use case imports the wire", "internal/sts", "internal/api/restjson", true},
		{"api packages import each other", "internal/api/eksapi", "internal/api/stsapi", true},
		{"api package imports its codec", "internal/api/eksapi", "internal/api/restjson", false},
		{"api package imports a store", "internal/api/eksapi", "internal/store/etcd", true},
		{"codec imports a service's domain", "internal/api/awsquery", "internal/association", true},
		{"codec imports the call", "internal/api/awsquery", "internal/api/call", false},
		{"codec imports an api package", "internal/api/restjson", "internal/api/eksapi", true},
		{"storage imports up", "internal/store/etcd", "internal/controlplane", true},
		{"controlplane imports a store", "internal/controlplane", "internal/store/etcdembed", false},
		{"controlplane imports the cluster side", "internal/controlplane", "internal/agent", true},
		{"server imports a service", "internal/server", "internal/api/eksapi", true},
		{"agent imports the server side", "internal/agent", "internal/secret", true},
		{"the agent's judge of tokens imports their rules", "internal/agent/podtoken", "internal/satoken", false},
		{"the agent's judge of tokens imports more", "internal/agent/podtoken", "internal/cluster", true},
		{"another room of the agent imports them", "internal/agent/credcache", "internal/jwt", true},
		{"agent imports its own", "internal/agent", "internal/agent/credcache", false},
		{"agent imports the CLI", "internal/agent", "internal/cli", true},
		{"cli imports the ground floor", "internal/cli", "internal/arn", true},
		{"agent command imports another command", "cmd/podid-agent", "internal/cli", true},
		{"podid command imports a store", "cmd/podid", "internal/store/etcd", true},
		{"podid command imports controlplane", "cmd/podid", "internal/controlplane", false},
		{"podid command imports the grader", "cmd/podid", "internal/policy/policytest", false},
		{"product imports test support", "internal/controlplane", "internal/store/storetest", true},
		{"test support imports test support", "internal/controlplane/controlplanetest", "internal/controlplane", false},
		{"a package without a room", "internal/newthing", "internal/arn", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if why := checkImport(tc.from, tc.to); (why != "") != tc.refused {
				t.Errorf("%s -> %s: refused = %v (%s), want %v", tc.from, tc.to, why != "", why, tc.refused)
			}
		})
	}
}

func TestImportedOnly(t *testing.T) {
	for _, p := range ourPackages(t) {
		for _, rule := range importedOnly {
			for _, imported := range p.Imports {
				if within(imported, rule.module) && !withinAny(p.room(), rule.rooms) && !isExample(p.room()) {
					t.Errorf("%s imports %s: %s", p.room(), imported, rule.why)
				}
			}
		}
	}
}

func TestLinkedNever(t *testing.T) {
	for _, rule := range linkedNever {
		t.Run(rule.command, func(t *testing.T) {
			if _, err := os.Stat(rule.command); errors.Is(err, fs.ErrNotExist) {
				return // the room does not exist yet
			}
			for dep := range strings.FieldsSeq(string(goList(t, "-deps", "-f", "{{.ImportPath}}", "./"+rule.command))) {
				for _, never := range rule.modules {
					if strings.HasPrefix(dep, never) {
						t.Errorf("%s links %s: %s", rule.command, dep, rule.why)
					}
				}
			}
		})
	}
}

// TestPackageComments wants from every package, in one file, what it owns, what it refuses and where it stands.
// That cannot be measured; that there are two lines which begin as Go asks can.
func TestPackageComments(t *testing.T) {
	for _, p := range ourPackages(t) {
		var comments []string
		for _, name := range append(slices.Clone(p.GoFiles), p.IgnoredFiles...) {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Errorf("%s: %v", p.room(), err)
				continue
			}
			if f.Doc != nil {
				comments = append(comments, strings.TrimSpace(f.Doc.Text()))
			}
		}
		begin := "Package " + p.Name + " "
		if p.Name == "main" {
			begin = "Command " + filepath.Base(p.Dir) + " "
		}
		switch i := slices.IndexFunc(comments, func(c string) bool { return strings.HasPrefix(c, begin) }); {
		case i < 0:
			t.Errorf("%s: no comment that begins with %q", p.room(), begin)
		case strings.Count(comments[i], "\n") < 1:
			t.Errorf("%s: the package comment is one line: say what the package owns, what it refuses and where it stands in the flow", p.room())
		}
	}
}

const (
	maxFileLines = 600
	maxFuncLines = 100
)

var (
	generated  = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	skips      = regexp.MustCompile(`\b[tbf]\.Skip(f|Now)?\(`)
	sleeps     = regexp.MustCompile(`\btime\.Sleep\(`)
	fileHeader = "// Copyright The podid Authors.\n// SPDX-License-Identifier: Apache-2.0\n\n"
	// generatedTag is what controller-gen puts before the header that it is given.
	generatedTag = "//go:build !ignore_autogenerated\n\n"
)

// goFiles visits every Go file of the tree, nested modules included, with its slash-separated path and text.
func goFiles(t *testing.T, visit func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (name == "node_modules" || name == "testdata" || name == "bin" || strings.HasPrefix(name, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(path), string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	goFiles(t, func(path, text string) {
		if !strings.HasPrefix(strings.TrimPrefix(text, generatedTag), fileHeader) {
			t.Errorf("%s does not begin with the copyright line, the SPDX line and an empty line", path)
		}
		if generated.MatchString(text) {
			return
		}
		if strings.HasSuffix(path, "_test.go") {
			if path == "layout_test.go" {
				return
			}
			if skips.MatchString(text) {
				t.Errorf("%s skips a test: a test that needs something says so by failing, or makes it", path)
			}
			if sleeps.MatchString(text) && !strings.Contains(text, `"testing/synctest"`) {
				t.Errorf("%s sleeps on the real clock: wait on a condition, or use testing/synctest", path)
			}
			return
		}
		if n := strings.Count(text, "\n"); n > maxFileLines {
			t.Errorf("%s has %d lines, more than %d: it holds more than one thought", path, n, maxFileLines)
		}
		checkFunctions(t, path, text)
	})
}

func checkFunctions(t *testing.T, path, text string) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Errorf("parse: %v", err)
		return
	}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFuncLines {
			t.Errorf("%s: %s has %d lines, more than %d", path, fn.Name.Name, n, maxFuncLines)
		}
		if fn.Name.Name == "init" && fn.Recv == nil {
			t.Errorf("%s: no init functions: what a package needs is given to it", path)
		}
	}
}
