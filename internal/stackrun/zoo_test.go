// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/stackrun"
	"podid/internal/store"
)

// The zoo has a resource of each type. The second is the first changed in
// place, with more and less; the third replaces what can be replaced.
const (
	zooOne = `
Resources:
  Bound: {Type: AWS::IAM::ManagedPolicy, Properties: {PolicyDocument: ` + allowAll + `}}
  Role1:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: ` + trust + `
      Description: first
      MaxSessionDuration: 7200
      PermissionsBoundary: !Ref Bound
      ManagedPolicyArns: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
      Policies: [{PolicyName: a, PolicyDocument: ` + allowAll + `}, {PolicyName: b, PolicyDocument: ` + allowAll + `}]
      Tags: [{Key: k, Value: v}, {Key: gone, Value: v}]
  Shared: {Type: AWS::IAM::ManagedPolicy, Properties: {PolicyDocument: ` + allowAll + `, Roles: [!Ref Role1], Users: [bob], Groups: [crew]}}
  Inline: {Type: AWS::IAM::Policy, Properties: {PolicyName: inline-of-stack, PolicyDocument: ` + allowAll + `, Roles: [!Ref Role1], Users: [bob], Groups: [crew]}}
  Provider: {Type: AWS::IAM::OIDCProvider, Properties: {Url: "https://one.example", ClientIdList: [a, b], Tags: [{Key: k, Value: v}]}}
  Profile: {Type: AWS::IAM::InstanceProfile, Properties: {Roles: [!Ref Role1]}}
  Assoc: {Type: AWS::EKS::PodIdentityAssociation, Properties: {ClusterName: my-cluster, Namespace: ns, ServiceAccount: sa, RoleArn: !GetAtt Role1.Arn, Tags: [{Key: k, Value: v}]}}
Outputs: {Arn: {Value: !GetAtt Role1.Arn}}
`
	denyAll = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`
	zooTwo  = `
Resources:
  Role1:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["pods.eks.amazonaws.com","ec2.amazonaws.com"]},"Action":["sts:AssumeRole","sts:TagSession"]}]}
      Description: second
      ManagedPolicyArns: [arn:aws:iam::aws:policy/ReadOnlyAccess]
      Policies: [{PolicyName: b, PolicyDocument: ` + denyAll + `}, {PolicyName: c, PolicyDocument: ` + allowAll + `}]
      Tags: [{Key: k, Value: w}, {Key: new, Value: v}]
  Role2: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: ` + trust + `}}
  Shared: {Type: AWS::IAM::ManagedPolicy, Properties: {PolicyDocument: ` + denyAll + `, Roles: [!Ref Role1, !Ref Role2], Groups: [crew]}}
  Inline: {Type: AWS::IAM::Policy, Properties: {PolicyName: inline-of-stack, PolicyDocument: ` + denyAll + `, Roles: [!Ref Role1, !Ref Role2]}}
  Provider: {Type: AWS::IAM::OIDCProvider, Properties: {Url: "https://one.example", ClientIdList: [b, c], ThumbprintList: [0123456789012345678901234567890123456789], Tags: [{Key: k, Value: w}]}}
  Profile: {Type: AWS::IAM::InstanceProfile, Properties: {Roles: [!Ref Role2]}}
  Assoc: {Type: AWS::EKS::PodIdentityAssociation, Properties: {ClusterName: my-cluster, Namespace: ns, ServiceAccount: sa, RoleArn: !GetAtt Role2.Arn, DisableSessionTags: true, Tags: [{Key: new, Value: v}]}}
Outputs: {Arn: {Value: !GetAtt Role2.Arn}}
`
	zooThree = `
Resources:
  Role1: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: ` + trust + `, Path: /there/, Description: third}}
  Shared: {Type: AWS::IAM::ManagedPolicy, Properties: {Description: third, PolicyDocument: ` + allowAll + `, Roles: [!Ref Role1]}}
  Inline: {Type: AWS::IAM::Policy, Properties: {PolicyName: another-name, PolicyDocument: ` + allowAll + `, Roles: [!Ref Role1]}}
  Provider: {Type: AWS::IAM::OIDCProvider, Properties: {Url: "https://two.example"}}
  Profile: {Type: AWS::IAM::InstanceProfile, Properties: {Path: /there/, Roles: [!Ref Role1]}}
  Assoc: {Type: AWS::EKS::PodIdentityAssociation, Properties: {ClusterName: my-cluster, Namespace: other, ServiceAccount: sa, RoleArn: !GetAtt Role1.Arn}}
`
)

var randomPart = regexp.MustCompile(`-[A-Z2-7]{12}\b`)

// picture is the world without what is random or was there before.
func (h *house) picture() string {
	lines := h.world()
	v := h.disk.Memory.View()
	for _, u := range iam.Users.List(v, global, "", "") {
		line := "user " + u.Name
		for _, p := range u.Inline {
			line += " " + p.Name + "=" + p.Document
		}
		lines = append(lines, line+" "+strings.Join(slices.Sorted(slices.Values(u.Attached)), " "))
	}
	for _, g := range iam.Groups.List(v, global, "", "") {
		line := "in group " + g.Name
		for _, p := range g.Inline {
			line += " " + p.Name + "=" + p.Document
		}
		lines = append(lines, line+" "+strings.Join(g.Attached, " "))
	}
	ids := map[string]string{}
	for _, r := range iam.Roles.List(v, global, "", "") {
		ids[r.ID] = r.Name
	}
	for i := range lines {
		for id, name := range ids {
			lines[i] = strings.ReplaceAll(lines[i], id, name)
		}
		lines[i] = randomPart.ReplaceAllString(lines[i], "-RANDOM")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// newZoo is a house in which bob and the crew live.
func newZoo(t testing.TB) *house {
	t.Helper()
	h := newHouse(t)
	h.user("bob", allowAll)
	h.update(func(tx *store.Tx) {
		iam.Groups.Put(tx, global, "crew", &iam.Group{ID: "AGPAEXAMPLECREW", Partition: partition, Account: account, Path: "/", Name: "crew"})
	})
	return h
}

// pictures are of an empty zoo and of the three.
func pictures(t *testing.T) (empty string, of map[string]string) {
	t.Helper()
	of = map[string]string{}
	h := newZoo(t)
	empty = h.picture()
	h.create("zoo", zooOne, stackrun.CreateComplete)
	of[zooOne] = h.picture()
	h.change("zoo", zooTwo, stackrun.UpdateComplete)
	of[zooTwo] = h.picture()
	h.change("zoo", zooThree, stackrun.UpdateComplete)
	of[zooThree] = h.picture()
	h.delete("zoo", stackrun.DeleteComplete)
	same(t, "after the deletion", h.picture(), empty)
	return empty, of
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: there is\n%s\nwant\n%s", what, got, want)
	}
}

// Whichever way the zoo came to be, it is the same.
func TestUpdatesConverge(t *testing.T) {
	empty, of := pictures(t)
	for _, want := range []string{"Role1-RANDOM first +arn:aws:iam::111122223333:policy/zoo-Shared-RANDOM +arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess a=", "profile zoo-Profile-RANDOM zoo-Role1-RANDOM", "user bob inline=" + allowAll + " inline-of-stack="} {
		if !strings.Contains(of[zooOne], want) {
			t.Errorf("the first zoo has no %q:\n%s", want, of[zooOne])
		}
	}
	for _, from := range []string{zooOne, zooTwo, zooThree} {
		for _, to := range []string{zooOne, zooTwo, zooThree} {
			if from == to {
				continue
			}
			h := newZoo(t)
			h.create("zoo", from, stackrun.CreateComplete)
			same(t, "created", h.picture(), of[from])
			h.change("zoo", to, stackrun.UpdateComplete)
			same(t, "updated", h.picture(), of[to])
			h.delete("zoo", stackrun.DeleteComplete)
			same(t, "deleted", h.picture(), empty)
		}
	}
}

// asked are the actions of IAM and EKS that do is asked for, each once, in order.
func (h *house) askedBy(do func()) []string {
	h.authz.asked = nil
	do()
	var out []string
	for _, a := range h.authz.asked {
		if !strings.HasPrefix(a, "cloudformation:") && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// Whatever a caller may not do, a creation that fails for it leaves nothing.
func TestCreateRollsBack(t *testing.T) {
	ref := newZoo(t)
	empty := ref.picture()
	actions := ref.askedBy(func() { ref.create("zoo", zooOne, stackrun.CreateComplete) })
	if len(actions) < 15 {
		t.Fatalf("a zoo is made by %v", actions)
	}
	for _, action := range actions {
		t.Run(action, func(t *testing.T) {
			h := newZoo(t)
			h.authz.deny[action] = true
			id := h.create("zoo", zooOne, stackrun.RollbackComplete)
			same(t, "rolled back", h.picture(), empty)
			h.said(id, "", "is not authorized to perform: "+action)
			if got := h.info(id); got.Outputs != nil {
				t.Errorf("outputs %v", got.Outputs)
			}
			_, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "zoo", Source: source(zooTwo)})
			refused(t, err, fault.InvalidParameter, "is in ROLLBACK_COMPLETE state and can not be updated.")
			h.delete("zoo", stackrun.DeleteComplete)
		})
	}
}

// What cannot be taken back is named, and goes with a later deletion.
func TestCreateRollbackFails(t *testing.T) {
	ref := newZoo(t)
	empty := ref.picture()
	ref.create("zoo", zooOne, stackrun.CreateComplete)
	removals := ref.askedBy(func() { ref.delete("zoo", stackrun.DeleteComplete) })
	for _, action := range removals {
		t.Run(action, func(t *testing.T) {
			h := newZoo(t)
			h.authz.deny[action] = true
			id := h.create("zoo", strings.Replace(zooOne, "Arn: {Value", "Arn: {Export: {Name: ''}, Value", 1), stackrun.RollbackFailed)
			if got := h.info(id); !strings.HasPrefix(got.Reason, "The following resource(s) failed to delete: [") {
				t.Errorf("reason %q", got.Reason)
			}
			h.said(id, "", "DELETE_FAILED")
			h.authz.deny[action] = false
			h.delete("zoo", stackrun.DeleteComplete)
			same(t, "deleted", h.picture(), empty)
		})
	}
}

// An update that fails leaves what there was.
func TestUpdateRollsBack(t *testing.T) {
	empty, of := pictures(t)
	for name, to := range map[string]string{"in place": zooTwo, "replaced": zooThree} {
		ref := newZoo(t)
		ref.create("zoo", zooOne, stackrun.CreateComplete)
		for _, action := range ref.askedBy(func() { ref.change("zoo", to, stackrun.UpdateComplete) }) {
			t.Run(name+" "+action, func(t *testing.T) {
				h := newZoo(t)
				h.create("zoo", zooOne, stackrun.CreateComplete)
				outputs := h.info("zoo").Outputs
				h.authz.deny[action] = true
				if _, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "zoo", Source: source(to)}); err != nil {
					t.Fatal(err)
				}
				h.authz.deny[action] = false
				switch got := h.info("zoo"); got.Status {
				case stackrun.UpdateRollbackFailed:
					if !strings.HasPrefix(got.Reason, "The following resource(s) failed to ") {
						t.Errorf("reason %q", got.Reason)
					}
					if err := h.ContinueUpdateRollback(ctx, h.admin, stackrun.ContinueInput{Name: "zoo"}); err != nil {
						t.Fatal(err)
					}
					h.status("zoo", stackrun.UpdateRollbackComplete)
				case stackrun.UpdateRollbackComplete:
				case stackrun.UpdateComplete: // what is left behind could not be removed
					h.said("zoo", "", "DELETE_FAILED")
					h.change("zoo", zooOne, stackrun.UpdateComplete)
					outputs = h.info("zoo").Outputs
				default:
					t.Fatalf("%s: %s", got.Status, strings.Join(h.events("zoo"), "\n"))
				}
				same(t, "rolled back", h.picture(), of[zooOne])
				if got := h.info("zoo").Outputs; !slices.Equal(got, outputs) {
					t.Errorf("outputs %v, want %v", got, outputs)
				}
				h.change("zoo", to, stackrun.UpdateComplete)
				same(t, "updated after all", h.picture(), of[to])
				h.delete("zoo", stackrun.DeleteComplete)
				same(t, "deleted", h.picture(), empty)
			})
		}
	}
}

// A deletion that fails says what is left, and goes on when it is asked again.
func TestDeleteFails(t *testing.T) {
	ref := newZoo(t)
	empty := ref.picture()
	ref.create("zoo", zooOne, stackrun.CreateComplete)
	for _, action := range ref.askedBy(func() { ref.delete("zoo", stackrun.DeleteComplete) }) {
		t.Run(action, func(t *testing.T) {
			h := newZoo(t)
			h.create("zoo", zooOne, stackrun.CreateComplete)
			h.authz.deny[action] = true
			h.delete("zoo", stackrun.DeleteFailed)
			h.said("zoo", "", "is not authorized to perform: "+action)
			h.authz.deny[action] = false
			h.delete("zoo", stackrun.DeleteComplete)
			same(t, "deleted", h.picture(), empty)
		})
	}
}

// crashes runs do with the store failing at each of its writes in turn, until
// it fails at none; kept says whether that write counts all the same. fresh makes the house, after judges what became of it.
func crashes(t *testing.T, dead bool, kepts []bool, fresh func(t *testing.T) *house, do func(h *house) error, after func(t *testing.T, h *house, err error)) {
	for _, kept := range kepts {
		for n := 1; ; n++ {
			hit := false
			t.Run(fmt.Sprintf("write %d kept %v", n, kept), func(t *testing.T) {
				h := fresh(t)
				failure := store.ErrUnavailable
				if kept {
					failure = store.ErrUnknown
				}
				h.disk.arm(n, kept, dead, failure)
				err := do(h)
				hit = h.disk.n >= n
				h.disk.arm(0, false, false, nil)
				after(t, h, err)
			})
			if !hit {
				if n < 10 {
					t.Fatalf("there are %d writes", n)
				}
				break
			}
		}
	}
}

func (h *house) exists(name string) bool {
	_, _, err := h.DescribeStacks(ctx, h.admin, name, "")
	return err == nil
}

// A process that ends while it creates leaves a stack that says so, and that
// can be deleted with everything it has made.
func TestCreateCrashes(t *testing.T) {
	empty := newZoo(t).picture()
	crashes(t, true, []bool{false, true}, func(t *testing.T) *house { return newZoo(t) },
		func(h *house) error { _, err := h.CreateStack(ctx, h.admin, input("zoo", zooOne)); return err },
		func(t *testing.T, h *house, err error) {
			if !h.exists("zoo") {
				same(t, "never begun", h.picture(), empty)
				return
			}
			if err != nil && h.info("zoo").Status != stackrun.CreateComplete {
				h.status("zoo", stackrun.CreateInProgress)
				err := h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: "zoo"})
				refused(t, err, fault.InvalidParameter, "cannot be deleted while in status CREATE_IN_PROGRESS")
				h.now = h.now.Add(2 * time.Minute)
				h.status("zoo", stackrun.CreateFailed)
			}
			h.delete("zoo", stackrun.DeleteComplete)
			same(t, "deleted", h.picture(), empty)
		})
}

// A store that is away for a moment does not spoil a creation.
func TestCreateGoesOn(t *testing.T) {
	_, of := pictures(t)
	crashes(t, false, []bool{false, true}, func(t *testing.T) *house { return newZoo(t) },
		func(h *house) error { _, err := h.CreateStack(ctx, h.admin, input("zoo", zooOne)); return err },
		func(t *testing.T, h *house, err error) {
			if err != nil { // it was the first write
				return
			}
			h.status("zoo", stackrun.CreateComplete)
			same(t, "created", h.picture(), of[zooOne])
		})
}

func TestUpdateCrashes(t *testing.T) {
	empty, of := pictures(t)
	for name, to := range map[string]string{"in place": zooTwo, "replaced": zooThree} {
		t.Run(name, func(t *testing.T) {
			fresh := func(t *testing.T) *house {
				h := newZoo(t)
				h.create("zoo", zooOne, stackrun.CreateComplete)
				return h
			}
			do := func(h *house) error {
				_, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "zoo", Source: source(to)})
				return err
			}
			crashes(t, true, []bool{false, true}, fresh, do, func(t *testing.T, h *house, _ error) {
				h.now = h.now.Add(2 * time.Minute)
				switch got := h.info("zoo"); got.Status {
				case stackrun.CreateComplete, stackrun.UpdateFailed:
					h.change("zoo", to, stackrun.UpdateComplete)
					same(t, "updated after all", h.picture(), of[to])
				case stackrun.UpdateComplete: // the end may be in the middle of cleaning up
					h.change("zoo", zooOne, stackrun.UpdateComplete)
					same(t, "changed back", h.picture(), of[zooOne])
				default:
					t.Fatalf("%+v", got)
				}
				h.delete("zoo", stackrun.DeleteComplete)
				same(t, "deleted", h.picture(), empty)
			})
			crashes(t, true, []bool{true}, fresh, do, func(t *testing.T, h *house, _ error) {
				h.now = h.now.Add(2 * time.Minute)
				h.delete("zoo", stackrun.DeleteComplete)
				same(t, "deleted at once", h.picture(), empty)
			})
			crashes(t, false, []bool{true}, fresh, do, func(t *testing.T, h *house, err error) {
				if err != nil {
					return
				}
				h.status("zoo", stackrun.UpdateComplete)
				same(t, "updated", h.picture(), of[to])
			})
		})
	}
}

// A rollback that a crash has ended goes on when it is asked to.
func TestRollbackCrashes(t *testing.T) {
	empty, of := pictures(t)
	fresh := func(t *testing.T) *house {
		h := newZoo(t)
		h.create("zoo", zooOne, stackrun.CreateComplete)
		return h
	}
	bad := strings.Replace(zooTwo, "Arn: {Value", "Arn: {Export: {Name: ''}, Value", 1)
	crashes(t, true, []bool{false, true}, fresh, func(h *house) error {
		_, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "zoo", Source: source(bad)})
		return err
	}, func(t *testing.T, h *house, _ error) {
		h.now = h.now.Add(2 * time.Minute)
		switch got := h.info("zoo"); got.Status {
		case stackrun.UpdateRollbackFailed:
			_, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "zoo", Source: source(zooTwo)})
			refused(t, err, fault.InvalidParameter, "is in UPDATE_ROLLBACK_FAILED state and can not be updated.")
			if err := h.ContinueUpdateRollback(ctx, h.admin, stackrun.ContinueInput{Name: "zoo"}); err != nil {
				t.Fatal(err)
			}
			h.status("zoo", stackrun.UpdateRollbackComplete)
			same(t, "rolled back", h.picture(), of[zooOne])
		case stackrun.UpdateRollbackComplete:
			same(t, "rolled back", h.picture(), of[zooOne])
		}
		h.delete("zoo", stackrun.DeleteComplete)
		same(t, "deleted", h.picture(), empty)
	})
}

func TestDeleteCrashes(t *testing.T) {
	empty := newZoo(t).picture()
	crashes(t, true, []bool{false, true}, func(t *testing.T) *house {
		h := newZoo(t)
		h.create("zoo", zooOne, stackrun.CreateComplete)
		return h
	}, func(h *house) error { return h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: "zoo"}) }, func(t *testing.T, h *house, _ error) {
		h.now = h.now.Add(2 * time.Minute)
		if h.exists("zoo") {
			h.delete("zoo", stackrun.DeleteComplete)
		}
		same(t, "deleted", h.picture(), empty)
	})
}
