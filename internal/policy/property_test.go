// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The generators draw from small sets, so that statements often match.
var (
	genActions   = rapid.SliceOfN(rapid.SampledFrom([]string{"*", "s3:*", "s3:GetObject", "S3:get*", "s3:Put*", "s3:?etObject", "ec2:*"}), 1, 3)
	genResources = rapid.SliceOfN(rapid.SampledFrom([]string{
		"*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/k", "arn:aws:s3*", "arn:aws:s3:::?/*", "arn:aws:s3:::b/${aws:username}",
		"arn:aws:s3:::b/${missing, 'k'}", "arn:aws:s3:::b/${missing}", "arn:aws:s3:::b/${*}", "arn:aws:*:b/k",
		"arn:aws:ec2:*:*:*/i", "arn:aws:ec2:r:1:inst*/i", "arn:aws:ec2:r:1:*", "arn:aws:ec2:r:1:inst*", "arn:aws:ec2:r:1:instance/?",
	}), 1, 2)
	genPrincipals = rapid.SliceOfN(rapid.SampledFrom([]string{"*", acct, other, roleApp, sessApp, userBob}), 1, 2)
	genKeys       = []string{"aws:username", "tag", "TAG", "list", "number", "when", "flag", "arn", "absent", "empty"}
	genOperators  = []string{
		"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase",
		"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericGreaterThanEquals", "DateLessThan", "DateEquals", "DateNotEquals",
		"Bool", "ArnLike", "ArnNotLike", "ArnEquals", "IpAddress", "NotIpAddress", "BinaryEquals", "Null",
	}
	genTexts = []string{"k", "K", "kk", "k*", "?", "*", "", "5", "5.0", "-1", "2026-01-01T00:00:00Z", "2026-06-01T00:00:00+02:00", "true", "FALSE", "arn:aws:eks:r:1:cluster/c", "arn:aws:eks:*:?:cluster/*", "${aws:username}", "${list}", "${absent, 'k'}", "${*}", "a${aws:username}*", "10.0.0.0/8", "10.1.2.3", "::/0", "a2s="}
)

func drawCondition(t *rapid.T) map[string]map[string][]string {
	out := map[string]map[string][]string{}
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		op := rapid.SampledFrom(genOperators).Draw(t, "operator")
		texts := genTexts
		if strings.HasPrefix(op, "Date") { // others are refused when written
			texts = []string{"2026-01-01T00:00:00Z", "2026-06-01T00:00:00+02:00"}
		}
		if op == "Null" {
			texts = []string{"true", "false"}
		} else {
			op = rapid.SampledFrom([]string{"", "", "ForAllValues:", "ForAnyValue:"}).Draw(t, "set") + op + rapid.SampledFrom([]string{"", "", "IfExists"}).Draw(t, "suffix")
		}
		if out[op] == nil {
			out[op] = map[string][]string{}
		}
		key := rapid.SampledFrom(genKeys).Draw(t, "key")
		out[op][key] = rapid.SliceOfN(rapid.SampledFrom(texts), 1, 3).Draw(t, "values")
	}
	return out
}

func drawStatement(t *rapid.T, principal bool) string {
	s := map[string]any{"Effect": rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, "effect"), "Condition": drawCondition(t)}
	s[rapid.SampledFrom([]string{"Action", "Action", "NotAction"}).Draw(t, "element")] = genActions.Draw(t, "actions")
	s[rapid.SampledFrom([]string{"Resource", "Resource", "NotResource"}).Draw(t, "element")] = genResources.Draw(t, "resources")
	if principal {
		element := "Principal"
		if s["Effect"] == "Deny" {
			element = rapid.SampledFrom([]string{"Principal", "NotPrincipal"}).Draw(t, "element for principals")
		}
		s[element] = map[string][]string{"AWS": genPrincipals.Draw(t, "principals")}
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// scene is a random request with its documents as statements.
type scene struct {
	identity, resource     []string
	boundary, session, scp []string // nil: there is none
	version                string
	in                     Input
	naive                  naive
}

func drawScene(t *rapid.T) *scene {
	sc := &scene{version: rapid.SampledFrom([]string{VersionCurrent, VersionCurrent, VersionOld}).Draw(t, "version")}
	for range rapid.IntRange(1, 4).Draw(t, "identity statements") {
		sc.identity = append(sc.identity, drawStatement(t, false))
	}
	for _, limit := range []*[]string{&sc.boundary, &sc.session, &sc.scp} {
		if rapid.IntRange(0, 3).Draw(t, "limit") > 0 {
			continue
		}
		*limit = append(*limit, `{"Effect":"Allow","Action":["s3:*"],"Resource":["*"]}`)
		for range rapid.IntRange(0, 2).Draw(t, "limit statements") {
			*limit = append(*limit, drawStatement(t, false))
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "resource statements") {
		text := drawStatement(t, true)
		// Missing parts are stars in identity policies only; the naive evaluator
		// does not know the difference.
		sc.resource = append(sc.resource, strings.NewReplacer("arn:aws:s3*", "arn:aws:s3:*:*:*", "arn:aws:*:b/k", "arn:aws:*:b/k:*:*").Replace(text))
	}
	sc.in = Input{
		Principal: rapid.SampledFrom([]Principal{SessionPrincipal(roleApp, sessApp), UserPrincipal(userBob)}).Draw(t, "caller"),
		Action:    rapid.SampledFrom([]string{"s3:GetObject", "s3:PutObject", "ec2:RunInstances"}).Draw(t, "action"),
		Resource:  rapid.SampledFrom([]string{"arn:aws:s3:::b/k", "arn:aws:s3:::b/*", "arn:aws:s3:::c/k", "arn:aws:ec2:r:1:instance/i", "*"}).Draw(t, "resource"),
		Context:   &Context{},
	}
	sc.in.ResourceAccount = rapid.SampledFrom([]string{acct, acct, other}).Draw(t, "owner")
	n := naive{who: sc.in.Principal, action: sc.in.Action, resource: sc.in.Resource, account: sc.in.ResourceAccount, ctx: map[string][]string{}, multi: map[string]bool{}, old: sc.version == VersionOld}
	plain := []string{"k", "K", "kk", "*", "", "5", "2026-01-01T00:00:00Z", "true", "arn:aws:eks:r:1:cluster/c", "10.1.2.3", "10.1.2.4", "2001:db8::1", "a2s="}
	for _, key := range []string{"aws:username", "tag", "number", "when", "flag", "arn", "list", "empty"} {
		switch {
		case key == "list":
			n.ctx[key], n.multi[key] = rapid.SliceOfN(rapid.SampledFrom(plain), 1, 3).Draw(t, key), true
			sc.in.Context.SetMulti(key, n.ctx[key]...)
		case key == "empty":
			n.ctx[key], n.multi[key] = nil, true
			sc.in.Context.SetMulti(key)
		case rapid.Bool().Draw(t, "present"):
			n.ctx[key] = []string{rapid.SampledFrom(plain).Draw(t, key)}
			sc.in.Context.Set(key, n.ctx[key][0])
		}
	}
	sc.naive = n
	return sc
}

// text writes statements as a document of the scene's version.
func (sc *scene) text(statements []string) string {
	return fmt.Sprintf(`{"Version":%q,"Statement":[%s]}`, sc.version, strings.Join(statements, ","))
}

func (sc *scene) evaluate(t *rapid.T, identity, resource []string) bool {
	in := sc.in
	d, err := Parse(Identity, sc.text(identity))
	if err != nil {
		t.Fatal(err)
	}
	in.Identity = []Named{{Doc: d}}
	if len(resource) > 0 {
		r, err := Parse(Resource, sc.text(resource))
		if err != nil {
			t.Fatal(err)
		}
		in.ResourcePolicy = &Named{Doc: r}
	}
	sc.limitBy(t, &in)
	return Evaluate(&in).Allowed
}

// limitBy sets the scene's documents that limit what others grant.
func (sc *scene) limitBy(t interface{ Fatal(...any) }, in *Input) {
	parse := func(kind DocumentKind, statements []string) Named {
		d, err := Parse(kind, sc.text(statements))
		if err != nil {
			t.Fatal(err)
		}
		return Named{Doc: d}
	}
	if sc.boundary != nil {
		b := parse(Boundary, sc.boundary)
		in.Boundary = &b
	}
	if sc.session != nil {
		in.Session, in.HasSession = []Named{parse(SessionPolicy, sc.session)}, true
	}
	if sc.scp != nil {
		in.SCPs = [][]Named{{parse(SCP, sc.scp)}}
	}
}

func TestAgreesWithNaiveEvaluator(t *testing.T) {
	allowed, total := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		sc := drawScene(rt)
		var resource []naiveStatement
		if len(sc.resource) > 0 {
			resource = naiveStatements(t, sc.text(sc.resource))
		}
		limit := func(statements []string) []naiveStatement {
			if statements == nil {
				return nil
			}
			return naiveStatements(t, sc.text(statements))
		}
		want := sc.naive.allowed(naiveStatements(t, sc.text(sc.identity)), resource, limit(sc.boundary), limit(sc.session), limit(sc.scp))
		if got := sc.evaluate(rt, sc.identity, sc.resource); got != want {
			rt.Fatalf("allowed %v, the naive evaluator says %v\nidentity %s\nresource %s\nrequest %+v\ncontext %v",
				got, want, sc.identity, sc.resource, sc.in, sc.naive.ctx)
		}
		total++
		if want {
			allowed++
		}
	})
	t.Logf("%d of %d scenes were allowed", allowed, total)
}

// TestLimitChangesNothing: a context that keeps only what documents name leads
// to the same decision.
func TestLimitChangesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sc := drawScene(rt)
		whole := sc.evaluate(rt, sc.identity, sc.resource)
		limited := sc.limit(t)
		if got := sc.evaluate(rt, sc.identity, sc.resource); got != whole {
			rt.Fatalf("allowed %v, with %d of the keys %v\nidentity %s\nresource %s", whole, limited, got, sc.identity, sc.resource)
		}
	})
}

// limit puts a limited context in the place of the scene's, and returns how
// many keys are left.
func (sc *scene) limit(t *testing.T) int {
	t.Helper()
	in := sc.in
	in.Identity = []Named{{Doc: must(Parse(Identity, sc.text(sc.identity)))(t)}}
	if len(sc.resource) > 0 {
		in.ResourcePolicy = &Named{Doc: must(Parse(Resource, sc.text(sc.resource)))(t)}
	}
	sc.limitBy(t, &in)
	ctx := &Context{}
	ctx.Limit(&in)
	for _, e := range sc.in.Context.entries {
		ctx.put(e)
	}
	merged := &Context{}
	merged.Limit(&in)
	merged.Merge(sc.in.Context)
	if merged.Len() != ctx.Len() {
		t.Errorf("merging keeps %d keys, setting %d", merged.Len(), ctx.Len())
	}
	sc.in.Context = ctx
	return ctx.Len()
}

func must(d *Document, err error) func(*testing.T) *Document {
	return func(t *testing.T) *Document {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

func TestDenyNeverGrants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sc := drawScene(rt)
		before := sc.evaluate(rt, sc.identity, sc.resource)
		deny := strings.Replace(drawStatement(rt, false), `"Effect":"Allow"`, `"Effect":"Deny"`, 1)
		if after := sc.evaluate(rt, append(slices.Clone(sc.identity), deny), sc.resource); after && !before {
			rt.Fatalf("denial %s granted", deny)
		}
	})
}

func TestOrderIsIrrelevant(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sc := drawScene(rt)
		before := sc.evaluate(rt, sc.identity, sc.resource)
		identity := rapid.Permutation(sc.identity).Draw(rt, "order")
		resource := slices.Clone(sc.resource)
		slices.Reverse(resource)
		if after := sc.evaluate(rt, identity, resource); after != before {
			rt.Fatalf("allowed %v, in another order %v", before, after)
		}
	})
}

func TestKeyCaseIsIrrelevant(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sc := drawScene(rt)
		before := sc.evaluate(rt, sc.identity, sc.resource)
		upper := func(statements []string) []string {
			out := slices.Clone(statements)
			for i := range out {
				for _, key := range genKeys {
					out[i] = strings.ReplaceAll(out[i], `"`+key+`":`, `"`+strings.ToUpper(key)+`":`)
				}
				out[i] = strings.ReplaceAll(out[i], "aws:username", "AWS:UserName")
				// Two spellings of one key under one operator must stay apart in JSON.
				if strings.Count(out[i], `"TAG":`) > 1 {
					out[i] = statements[i]
				}
			}
			return out
		}
		if after := sc.evaluate(rt, upper(sc.identity), upper(sc.resource)); after != before {
			rt.Fatalf("allowed %v, with keys in capitals %v: %s", before, after, sc.identity)
		}
	})
}
