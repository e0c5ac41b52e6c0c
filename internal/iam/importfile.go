// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/policy"
)

// Limits of an import. AWS has some 1,500 policies of 8 MB.
const (
	maxImported        = 10_000
	maxImportProblems  = 20
	maxImportedPolicy  = 1 << 20 // bytes of all versions of a policy: it is one value of the store
	maxImportedVersion = maxDocument
)

var policyIDRE = regexp.MustCompile(`^ANPA[A-Z0-9]{12,124}$`)

type importPolicy struct {
	PolicyName, PolicyID, ARN, Path, DefaultVersionID, Description string
	CreateDate, UpdateDate                                         time.Time
	Versions                                                       []importVersion
}

type importVersion struct {
	Document         json.RawMessage
	VersionID        string
	IsDefaultVersion bool
	CreateDate       time.Time
}

// UnmarshalJSON reads AWS' member names.
func (in *importPolicy) UnmarshalJSON(raw []byte) error {
	var w struct {
		PolicyName        string
		PolicyID          string `json:"PolicyId"`
		ARN               string `json:"Arn"`
		Path              string
		DefaultVersionID  string `json:"DefaultVersionId"`
		Description       string
		CreateDate        time.Time
		UpdateDate        time.Time
		PolicyVersionList []struct {
			Document         json.RawMessage
			VersionID        string `json:"VersionId"`
			IsDefaultVersion bool
			CreateDate       time.Time
		}
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return err
	}
	*in = importPolicy{w.PolicyName, w.PolicyID, w.ARN, w.Path, w.DefaultVersionID, w.Description, w.CreateDate, w.UpdateDate, nil}
	for _, v := range w.PolicyVersionList {
		in.Versions = append(in.Versions, importVersion(v))
	}
	return nil
}

// problems gathers what is wrong with a file.
type problems struct{ found []string }

func (p *problems) add(what, format string, args ...any) {
	p.found = append(p.found, "policy "+strconv.Quote(what)+": "+fmt.Sprintf(format, args...))
}

func (p *problems) err() error {
	n := len(p.found)
	if n == 0 {
		return nil
	}
	more := ""
	if n > maxImportProblems {
		more = fmt.Sprintf("; and %d more", n-maxImportProblems)
		p.found = p.found[:maxImportProblems]
	}
	return fault.New(fault.InvalidParameter, "Nothing is imported, for the file has faults: %s%s.", strings.Join(p.found, "; "), more).WithReason("import-refused")
}

func badImport(format string, args ...any) error {
	return fault.New(fault.InvalidParameter, "Nothing is imported: "+format, args...).WithReason("import-refused")
}

// readImport reads and checks a file to its end. A fault of the reader, such
// as that the file is not the one that was signed, comes before what may be
// wrong with the file.
func readImport(file io.Reader, partition string) ([]*Policy, error) {
	out, err := parseImport(file, partition)
	if err == nil {
		return out, nil
	}
	if _, unread := io.Copy(io.Discard, file); unread != nil {
		return nil, unread
	}
	return nil, err
}

// parseImport reads one or more JSON documents with the managed policies of
// AWS. All that is wrong is told at once.
func parseImport(file io.Reader, partition string) ([]*Policy, error) {
	var found problems
	byName := map[string]*Policy{}
	dec := json.NewDecoder(file)
	for n := 1; ; n++ {
		err := eachPolicy(dec, func(in *importPolicy) error {
			p := in.policy(&found, partition)
			if p == nil {
				return nil
			}
			if old, twice := byName[id(p.Name)]; twice && !samePolicy(old, p) {
				found.add(p.Name, "it is in the file twice, and differs")
			}
			if byName[id(p.Name)] = p; len(byName) > maxImported {
				return errTooManyPolicies
			}
			return nil
		})
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
		case errors.Is(err, errNoPolicies):
			return nil, badImport("document %d of the file has no member Policies; make it with aws iam get-account-authorization-details --filter AWSManagedPolicy.", n)
		case errors.Is(err, errTooManyPolicies):
			return nil, badImport("the file has more than %d policies.", maxImported)
		default:
			return nil, badImport("document %d of the file, near byte %d, is not what get-account-authorization-details prints: %s.", n, dec.InputOffset(), err)
		}
		break
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	if len(byName) == 0 {
		return nil, badImport("the file has no policies.")
	}
	out := make([]*Policy, 0, len(byName))
	for _, p := range byName {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Policy) int { return cmp.Compare(id(a.Name), id(b.Name)) })
	return out, nil
}

var (
	errNoPolicies      = errors.New("no member Policies")
	errTooManyPolicies = errors.New("too many policies")
	errForm            = errors.New("an object with the member Policies, an array, is wanted")
)

// eachPolicy walks the policies of the next document, one at a time: a file
// has megabytes of them. io.EOF says that there is no next document, or that
// this one is cut off.
func eachPolicy(dec *json.Decoder, visit func(*importPolicy) error) error {
	if err := want(dec, '{'); err != nil {
		return err
	}
	err := policyMembers(dec, visit)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func policyMembers(dec *json.Decoder, visit func(*importPolicy) error) error {
	there := false
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		if name != "Policies" {
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return err
			}
			continue
		}
		there = true
		if err := want(dec, '['); err != nil {
			return err
		}
		for dec.More() {
			var p importPolicy
			if err := dec.Decode(&p); err != nil {
				return err
			}
			if err := visit(&p); err != nil {
				return err
			}
		}
		if err := want(dec, ']'); err != nil {
			return err
		}
	}
	if err := want(dec, '}'); err != nil {
		return err
	}
	if !there {
		return errNoPolicies
	}
	return nil
}

func want(dec *json.Decoder, d json.Delim) error {
	t, err := dec.Token()
	if err == nil && t != d {
		return errForm
	}
	return err
}

// policy checks one policy and returns it as a record, nil when it is refused.
func (in *importPolicy) policy(found *problems, partition string) *Policy {
	before, name := len(found.found), cmp.Or(in.PolicyName, in.ARN)
	if !arn.IsName(in.PolicyName, maxPolicyName) {
		found.add(name, "PolicyName %q is no name of a policy", in.PolicyName)
		return nil
	}
	if !arn.IsPath(in.Path) {
		found.add(name, "Path %q is no path", in.Path)
	}
	if want := arn.IAM(partition, managedAccount, "policy", in.Path, in.PolicyName); in.ARN != want {
		found.add(name, "Arn is %q, and would be %q of a policy of AWS in this partition", in.ARN, want)
	}
	if !policyIDRE.MatchString(in.PolicyID) {
		found.add(name, "PolicyId %q is no id of a policy", in.PolicyID)
	}
	if in.CreateDate.IsZero() || in.UpdateDate.IsZero() {
		found.add(name, "CreateDate or UpdateDate is missing")
	}
	p := &Policy{
		ID: in.PolicyID, Partition: partition, Account: managedAccount, Path: in.Path, Name: in.PolicyName, Description: in.Description,
		Default: in.DefaultVersionID, Created: seconds(in.CreateDate), Updated: seconds(in.UpdateDate),
	}
	in.readVersions(p, found)
	if len(found.found) > before {
		return nil
	}
	p.sortVersions()
	return p
}

func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func (in *importPolicy) readVersions(p *Policy, found *problems) {
	size := 0
	for _, v := range in.Versions {
		if versionNumber(v.VersionID) == 0 {
			found.add(p.Name, "VersionId %q is no version", v.VersionID)
			continue
		}
		if _, twice := p.version(v.VersionID); twice {
			found.add(p.Name, "version %s is there twice", v.VersionID)
			continue
		}
		if v.IsDefaultVersion != (v.VersionID == in.DefaultVersionID) {
			found.add(p.Name, "version %s says IsDefaultVersion %t, and DefaultVersionId is %s", v.VersionID, v.IsDefaultVersion, in.DefaultVersionID)
		}
		text, err := documentText(v.Document)
		if err != nil {
			found.add(p.Name, "version %s: %s", v.VersionID, err)
			continue
		}
		size += len(text)
		p.Versions = append(p.Versions, PolicyVersion{v.VersionID, text, seconds(v.CreateDate)})
	}
	if _, ok := p.version(in.DefaultVersionID); !ok {
		found.add(p.Name, "DefaultVersionId %q is none of its %d versions", in.DefaultVersionID, len(in.Versions))
	}
	if size > maxImportedPolicy {
		found.add(p.Name, "its versions have %d bytes together, more than %d", size, maxImportedPolicy)
	}
}

// documentText reads a document, which the AWS CLI prints as JSON and other
// tools as a string, percent-encoded as on the wire, and compiles it once.
func documentText(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", errors.New("it has no document")
	}
	text := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", fmt.Errorf("read document: %w", err)
		}
		if strings.HasPrefix(text, "%") {
			plain, err := url.PathUnescape(text)
			if err != nil {
				return "", fmt.Errorf("read document: %w", err)
			}
			text = plain
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(text)); err != nil {
		return "", fmt.Errorf("read document: %w", err)
	}
	if compact.Len() > maxImportedVersion {
		return "", fmt.Errorf("its document has %d bytes, more than %d", compact.Len(), maxImportedVersion)
	}
	text = compact.String()
	if _, err := policy.Parse(policy.Identity, text); err != nil {
		var bad *policy.MalformedError
		if errors.As(err, &bad) && bad.Cause != "" {
			return "", fmt.Errorf("%s (%s)", strings.TrimSuffix(bad.Message, "."), bad.Cause)
		}
		return "", err
	}
	return text, nil
}

// versionNumber reads v1, v2, …; 0 is none.
func versionNumber(versionID string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(versionID, "v"))
	if err != nil || n < 1 || versionID != "v"+strconv.Itoa(n) {
		return 0
	}
	return n
}

// sortVersions puts the versions in order and counts on after the last.
func (p *Policy) sortVersions() {
	slices.SortFunc(p.Versions, func(a, b PolicyVersion) int {
		return cmp.Compare(versionNumber(a.ID), versionNumber(b.ID))
	})
	p.NextVersion = versionNumber(p.Versions[len(p.Versions)-1].ID) + 1
}

// samePolicy compares what an import can change.
func samePolicy(a, b *Policy) bool {
	return a.ID == b.ID && a.Path == b.Path && a.Name == b.Name && a.Partition == b.Partition && a.Description == b.Description && a.Default == b.Default &&
		a.Created.Equal(b.Created) && a.Updated.Equal(b.Updated) &&
		slices.EqualFunc(a.Versions, b.Versions, func(v, w PolicyVersion) bool {
			return v.ID == w.ID && v.Document == w.Document && v.Created.Equal(w.Created)
		})
}
