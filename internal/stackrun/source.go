// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

var tagRE = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+@-]*$`)

// A draft is a source that was read: what a stack is to be.
type draft struct {
	text    string
	bound   *stack.Bound
	version Version  // without the id of the template's text
	secrets []string // values of NoEcho parameters
}

func (m *Manager) env(name, id string, notify []string) stack.Env {
	return stack.Env{Partition: m.Partition, Account: m.Account, Region: m.Region, StackName: name, StackID: id, NotificationARNs: notify}
}

// read reads a source for the stack of the name and ARN; was is the version
// that the stack is in, nil for a new one. A template's capabilities have to be
// acknowledged, and its types be among those that the caller allows.
func (m *Manager) read(r store.Reader, src *Source, name, id, uid string, was *Version) (*draft, error) {
	tags, err := checkTags(src.Tags)
	if err != nil {
		return nil, err
	}
	if err := checkLists(src); err != nil {
		return nil, err
	}
	d := &draft{}
	var before map[string]string
	if was != nil && was.Template != "" {
		if before, err = m.open(uid, was); err != nil {
			return nil, err
		}
	}
	if d.text, err = m.templateOf(r, src, uid, was); err != nil {
		return nil, err
	}
	t, err := stack.Parse(d.text)
	if err != nil {
		return nil, err
	}
	if err := allowedBy(src, t); err != nil {
		return nil, err
	}
	params, err := parameters(src.Parameters, before)
	if err != nil {
		return nil, err
	}
	v := Version{Description: t.Description(), Tags: tags, Capabilities: src.Capabilities, Notify: src.NotificationARNs, RoleARN: src.RoleARN}
	if was != nil {
		v.inherit(src, was)
	}
	if d.bound, err = t.Bind(params, m.env(name, id, v.Notify)); err != nil {
		return nil, err
	}
	if err := checkSize(d.bound.Values()); err != nil {
		return nil, err
	}
	d.secrets = secretsOf(t, d.bound)
	v.Shown = d.bound.Parameters()
	for _, res := range d.bound.Order() {
		v.Resources = append(v.Resources, res.LogicalID)
	}
	if v.Parameters, err = m.seal(uid, d.bound.Values()); err != nil {
		return nil, err
	}
	d.version = v
	return d, nil
}

// inherit takes over what an update's source leaves as it is.
func (v *Version) inherit(src *Source, was *Version) {
	if src.Tags == nil {
		v.Tags = was.Tags
	}
	if src.NotificationARNs == nil {
		v.Notify = was.Notify
	}
	if src.RoleARN == "" {
		v.RoleARN = was.RoleARN
	}
}

func (m *Manager) templateOf(r store.Reader, src *Source, uid string, was *Version) (string, error) {
	switch {
	case src.PreviousTemplate && src.Template != "":
		return "", invalid("template-twice", "You cannot specify both Template Body and Use Previous Template.")
	case src.PreviousTemplate && (was == nil || was.Template == ""):
		return "", invalid("template-missing", "There is no previous template to use.")
	case src.PreviousTemplate:
		return m.text(r, uid, was.Template)
	case src.Template == "":
		return "", invalid("template-missing", "Either Template URL or Template Body must be specified.")
	}
	return src.Template, nil
}

func (m *Manager) text(r store.Reader, uid, id string) (string, error) {
	t, ok := Templates.Get(r, m.scope(), uid+"/"+id)
	if !ok {
		return "", fmt.Errorf("load template %s of stack %s: it is not there", id, uid)
	}
	return t.Body, nil
}

// rebind reads a version that the stack is or was in.
func (m *Manager) rebind(r store.Reader, rec *Record, v *Version) (*stack.Bound, []string, error) {
	text, err := m.text(r, rec.UID, v.Template)
	if err != nil {
		return nil, nil, err
	}
	t, err := stack.Parse(text)
	if err != nil {
		return nil, nil, err
	}
	values, err := m.open(rec.UID, v)
	if err != nil {
		return nil, nil, err
	}
	b, err := t.Bind(values, m.env(rec.Name, rec.ID, v.Notify))
	if err != nil {
		return nil, nil, err
	}
	return b, secretsOf(t, b), nil
}

// checkSize bounds the parameters, which are part of the stack's record.
func checkSize(values map[string]string) error {
	size := 0
	for k, v := range values {
		size += len(k) + len(v)
	}
	if size > maxParameters {
		return invalid("parameters-too-large", "The parameters have %d bytes, which is more than the limit of %d for all of them.", size, maxParameters)
	}
	return nil
}

func secretsOf(t *stack.Template, b *stack.Bound) []string {
	var out []string
	values := b.Values()
	for _, p := range t.Parameters() {
		if p.NoEcho && values[p.Key] != "" {
			out = append(out, values[p.Key])
		}
	}
	// The longest first: one may be part of another.
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}

func (m *Manager) parametersAAD(uid string) []byte {
	return []byte(Stacks.Key(m.scope(), uid) + "#parameters")
}

func (m *Manager) seal(uid string, values map[string]string) ([]byte, error) {
	text, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("write parameters: %w", err)
	}
	return m.Sealer.Seal(text, m.parametersAAD(uid))
}

func (m *Manager) open(uid string, v *Version) (map[string]string, error) {
	text, err := m.Sealer.Open(v.Parameters, m.parametersAAD(uid))
	if err != nil {
		return nil, fmt.Errorf("open parameters of stack %s: %w", uid, err)
	}
	values := map[string]string{}
	if err := json.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("read parameters of stack %s: %w", uid, err)
	}
	return values, nil
}

func parameters(in []Parameter, before map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range in {
		if _, dup := out[p.Key]; dup {
			return nil, invalid("parameter-twice", "Parameter %.256s is given twice.", p.Key)
		}
		out[p.Key] = p.Value
		if !p.UsePrevious {
			continue
		}
		value, ok := before[p.Key]
		if !ok {
			return nil, invalid("parameter-previous", "Invalid input for parameter key %.256s. Cannot specify usePreviousValue as true for a parameter key not in the previous template", p.Key)
		}
		out[p.Key] = value
	}
	return out, nil
}

// allowedBy wants what the template needs to be acknowledged.
func allowedBy(src *Source, t *stack.Template) error {
	if missing := t.Capabilities().Missing(src.Capabilities); len(missing) > 0 {
		return fault.New(fault.InvalidRequest, "Requires capabilities : [%s]", strings.Join(missing, ", ")).WithReason(ReasonCapabilities)
	}
	if len(src.ResourceTypes) == 0 {
		return nil
	}
	for _, kind := range t.ResourceTypes() {
		if !slices.ContainsFunc(src.ResourceTypes, func(allowed string) bool {
			prefix, wild := strings.CutSuffix(allowed, "*")
			return allowed == kind || wild && strings.HasPrefix(kind, prefix)
		}) {
			return invalid("resource-type", "Resource type %s is not allowed by parameter ResourceTypes [%s]", kind, strings.Join(src.ResourceTypes, ", "))
		}
	}
	return nil
}

func checkLists(src *Source) error {
	for _, c := range src.Capabilities {
		if !slices.Contains([]string{stack.CapabilityIAM, stack.CapabilityNamedIAM, "CAPABILITY_AUTO_EXPAND"}, c) {
			return constraint("capabilities", c, "satisfy enum value set: [CAPABILITY_IAM, CAPABILITY_NAMED_IAM, CAPABILITY_AUTO_EXPAND]")
		}
	}
	if len(src.NotificationARNs) > 5 {
		return constraint("notificationARNs", fmt.Sprint(len(src.NotificationARNs)), "have length less than or equal to 5")
	}
	for _, a := range src.NotificationARNs {
		if _, err := arn.Parse(a); err != nil {
			return invalid("notification-arn", "%.256s is not an ARN of a topic.", a)
		}
	}
	for _, t := range src.ResourceTypes {
		if t == "" || len(t) > 256 {
			return constraint("resourceTypes", t, "have length between 1 and 256")
		}
	}
	return nil
}

// checkTags holds CloudFormation's rules and returns each key once. eksctl
// sends some of its tags twice, with one value.
func checkTags(tags []iam.Tag) ([]iam.Tag, error) {
	if tags == nil {
		return nil, nil
	}
	out := []iam.Tag{}
	for _, t := range tags {
		switch n := utf8.RuneCountInString(t.Key); {
		case n < 1 || n > 128:
			return nil, constraint("tags", t.Key, "have a key of 1 to 128 characters")
		case utf8.RuneCountInString(t.Value) > 256:
			return nil, constraint("tags", t.Value, "have a value of at most 256 characters")
		case !tagRE.MatchString(t.Key) || !tagRE.MatchString(t.Value):
			return nil, constraint("tags", t.Key, `satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*`)
		case len(t.Key) >= 4 && strings.EqualFold(t.Key[:4], "aws:"):
			return nil, invalid("tag-reserved", "aws: prefixed tag key names are not allowed for external use.")
		}
		i := slices.IndexFunc(out, func(o iam.Tag) bool { return o.Key == t.Key })
		switch {
		case i < 0:
			out = append(out, t)
		case out[i].Value != t.Value:
			return nil, invalid("tag-twice", "Duplicate tag keys found: %.128s.", t.Key)
		}
	}
	if len(out) > maxTags {
		return nil, constraint("tags", fmt.Sprint(len(out)), "have length less than or equal to %d", maxTags)
	}
	return out, nil
}

// goalOf is what a resource is to be: the template's properties, with the
// stack's tags where its type has tags. A resource's own tags win.
func goalOf(b *stack.Bound, id string, attrs stack.Attrs, tags []iam.Tag) (stack.Properties, error) {
	p, err := b.Properties(id, attrs)
	if err != nil {
		return nil, err
	}
	switch p := p.(type) {
	case *stack.Role:
		p.Tags = withTags(p.Tags, tags, true)
	case *stack.OIDCProvider:
		p.Tags = withTags(p.Tags, tags, true)
	case *stack.PodIdentityAssociation:
		p.Tags = withTags(p.Tags, tags, false)
	}
	return p, nil
}

func withTags(own []stack.Tag, tags []iam.Tag, fold bool) []stack.Tag {
	out := slices.Clone(own)
	for _, t := range tags {
		if !slices.ContainsFunc(own, func(o stack.Tag) bool { return o.Key == t.Key || fold && strings.EqualFold(o.Key, t.Key) }) {
			out = append(out, stack.Tag{Key: t.Key, Value: t.Value})
		}
	}
	return out
}
