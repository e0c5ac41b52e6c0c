// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

// podRows are what an SDK's default chain does in a pod: a token file and the agent's URL, and no key.
func podRows() section {
	return section{
		ID: "pods", Title: "Pods: the default credential chain and podid's agent", Clients: sdks,
		Note: "The environment is the webhook's; a witness between SDK and agent counts requests and makes faults.",
		Rows: []row{
			{"chain", "a pod is its role, by the session name of EKS", playChain},
			{"answer", "the agent is asked once, with the bare token, and the client takes its answer", playAnswer},
			{"resolved", "expiration in six hours; the account's id where the client reads it", playResolved},
			{"rotated", "the token file is read again", playRotated},
			{"cached", "one question serves many calls", playCached},
			{"refused", "no association: the agent refuses with a 4xx that says why", playPodRefused},
			{"bad-token", "a token that is not the cluster's is refused", playPodBadToken},
			{"agent-500", "the agent fails once: the client asks again", func(ctx context.Context, s *session) error {
				return s.agentFails(ctx, fault{code: http.StatusInternalServerError, body: "once"})
			}},
			{"agent-429", "the agent is busy once: the client asks again", func(ctx context.Context, s *session) error {
				return s.agentFails(ctx, fault{code: http.StatusTooManyRequests, body: "once"})
			}},
			{"agent-slow", "an answer after 1.5 s is waited for", func(ctx context.Context, s *session) error {
				_, err := s.podIdentity(ctx, "app", func(p *pod) { p.agent.inject(fault{match: anything, delay: 1500 * time.Millisecond}) })
				return err
			}},
			{"agent-slower", "an answer after 3 s: botocore does not wait for it, three times; the others do", playSlower},
			{"no-account", "an answer without the account's id is taken", func(ctx context.Context, s *session) error {
				return s.editedAnswer(ctx, nil, func(a M) { delete(a, "AccountId") })
			}},
			{"no-expiration", "an answer without an expiration: only the SDK for Go takes it, so the agent always says one", func(ctx context.Context, s *session) error {
				return s.editedAnswer(ctx, []string{"js", "boto3", "cli"}, func(a M) { delete(a, "Expiration") })
			}},
			{"offset", "an expiration with an offset: the SDK for JavaScript refuses it, so the agent writes Z", func(ctx context.Context, s *session) error {
				return s.editedAnswer(ctx, []string{"js"}, func(a M) { a["Expiration"] = strings.TrimSuffix(text(a, "Expiration"), "Z") + "+00:00" })
			}},
			{"refreshed", "credentials that end within five minutes are asked for again, and others are kept", playRefreshed},
			{"https", "an agent behind TLS may have any name", playHTTPS},
			{"file-first", "the token's file comes before a token in the environment", playFileFirst},
			{"newline", "a token file with a line break: the client does not send it", playNewline},
			{"plain-host", "plain HTTP to another host: the client sends it no token", playPlainHost},
			{"keys-first", "keys in the environment come first", playKeysFirst},
			{"irsa-first", "web identity (IRSA) comes first", playIRSAFirst},
		},
	}
}

func anything(exchange) bool { return true }

// A pod is an environment, its token and the witness before its agent.
type pod struct {
	agent *witness
	file  string
	env   []string
}

// newPod makes what the webhook gives a pod of a service account of this session's.
func (s *session) newPod(ctx context.Context, serviceAccount string) (*pod, error) {
	agent, err := once(s, "agent", func() (*witness, error) {
		url := s.bed.env["PODID_AGENT_ENDPOINT"]
		if s.player.agent != nil {
			var err error
			if url, err = s.player.agent(ctx, s); err != nil {
				return nil, err
			}
		}
		w, err := newWitness(url, nil, &http.Client{Transport: linkLocal{&http.Transport{}}})
		if err == nil {
			s.closers = append(s.closers, w.close)
		}
		return w, err
	})
	if err != nil {
		return nil, err
	}
	token, err := s.token(ctx, serviceAccount)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.bed.dir, "pod-")
	if err != nil {
		return nil, err
	}
	p := &pod{agent: agent, file: dir + "/eks-pod-identity-token"}
	p.env = append(append(s.bed.plainEnv(), s.bed.endpointEnv(s.witness.url)...),
		"AWS_CONTAINER_CREDENTIALS_FULL_URI="+agent.url+"/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="+p.file)
	agent.reset()
	return p, p.write(token)
}

// linkLocal calls an agent by the address that pods know, which AWS' agent insists on.
type linkLocal struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t linkLocal) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = "169.254.170.23"
	return t.RoundTripper.RoundTrip(r)
}

func (p *pod) write(token string) error { return os.WriteFile(p.file, []byte(token), 0o600) }

// podIdentity asks who a pod is, after change.
func (s *session) podIdentity(ctx context.Context, serviceAccount string, change func(*pod)) (*pod, error) {
	if serviceAccount == "app" {
		if _, err := s.association(ctx, "app", nil); err != nil {
			return nil, err
		}
	}
	p, err := s.newPod(ctx, serviceAccount)
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(p)
	}
	who, err := s.start(ctx, p.env)
	if err != nil {
		return p, err
	}
	out, err := s.inPod(ctx, who, "sts", "GetCallerIdentity")
	if err != nil {
		return p, err
	}
	return p, s.isPod(text(out, "Arn"))
}

// inPod makes a call with the client's own settings: how often it asks the agent is one of them.
func (s *session) inPod(ctx context.Context, who caller, service, operation string) (M, error) {
	out, err := who.call(ctx, request{Service: service, Operation: operation})
	return out, classify(err)
}

func (s *session) isPod(arn string) error {
	pattern := fmt.Sprintf(`^arn:aws:sts::%s:assumed-role/%s-pod2?/eks-my-cluster-.{1,10}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, s.bed.account, s.tag)
	if !regexp.MustCompile(pattern).MatchString(arn) {
		return fmt.Errorf("the pod is %s", arn)
	}
	return nil
}

func playChain(ctx context.Context, s *session) error {
	_, err := s.podIdentity(ctx, "app", nil)
	return err
}

func playAnswer(ctx context.Context, s *session) error {
	p, err := s.podIdentity(ctx, "app", nil)
	if err != nil {
		return err
	}
	token, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	seen := p.agent.exchanges()
	if len(seen) != 1 || seen[0].Operation != "GET /v1/credentials" || seen[0].Header.Get("Authorization") != string(token) {
		return fmt.Errorf("the agent saw %d requests, the last to %s", len(seen), p.agent.last().Operation)
	}
	var answer M
	if err := decode([]byte(seen[0].Answer), &answer); err != nil {
		return err
	}
	if expires := text(answer, "Expiration"); !strings.HasSuffix(expires, "Z") {
		return fmt.Errorf("the expiration is %q, without Z", expires)
	}
	return want(answer, M{"AccountId": s.bed.account})
}

func playResolved(ctx context.Context, s *session) error {
	p, err := s.newPod(ctx, "app")
	if err != nil {
		return err
	}
	who, err := s.start(ctx, p.env)
	if err != nil {
		return err
	}
	out, err := s.inPod(ctx, who, "credentials", "resolve")
	if err != nil {
		return err
	}
	expires, err := moment(field(out, "expiration"))
	if err != nil {
		return err
	}
	// The SDK for Go takes five minutes off, to be in time.
	if d := time.Until(expires); d < 6*time.Hour-7*time.Minute || d > 6*time.Hour+time.Minute {
		return fmt.Errorf("the expiration is in %s", d)
	}
	if got := text(out, "accountId"); got != s.bed.account && (got != "" || s.player.ID != "js") {
		return fmt.Errorf("the account's id is %q", got)
	}
	return nil
}

func playRotated(ctx context.Context, s *session) error {
	p, err := s.podIdentity(ctx, "app", nil)
	if err != nil {
		return err
	}
	next, err := s.token(ctx, "app", "--pod-name", "next")
	if err != nil {
		return err
	}
	if err := p.write(next); err != nil {
		return err
	}
	who, err := s.start(ctx, p.env)
	if err != nil {
		return err
	}
	if _, err := s.inPod(ctx, who, "sts", "GetCallerIdentity"); err != nil {
		return err
	}
	if p.agent.last().Header.Get("Authorization") != next {
		return errors.New("the agent was sent the old token")
	}
	return nil
}

func playCached(ctx context.Context, s *session) error {
	p, err := s.newPod(ctx, "app")
	if err != nil {
		return err
	}
	who, err := s.start(ctx, p.env)
	if err != nil {
		return err
	}
	// An operation of several requests: they share the client's credentials.
	in := M{"maxResults": 1}
	if _, err := who.call(ctx, request{Service: "eks", Operation: "ListClusters", Input: in, Paginate: true, Attempts: 3}); !isCode(err, "AccessDeniedException") {
		return fmt.Errorf("a pod may list clusters: %w", err)
	}
	if n := len(p.agent.exchanges()); n != 1 {
		return fmt.Errorf("the agent was asked %d times", n)
	}
	return nil
}

func isCode(err error, code string) bool {
	r := (*refusal)(nil)
	return errors.As(err, &r) && r.Code == code
}

func playPodRefused(ctx context.Context, s *session) error {
	p, err := s.podIdentity(ctx, "nobody", nil)
	if got := (*refusal)(nil); !errors.As(err, &got) {
		return fmt.Errorf("a pod without an association: %w", err)
	}
	seen := p.agent.exchanges()
	// The SDK for JavaScript asks four times, and once more in the way of its older provider, without the token.
	if len(seen) == 0 || len(seen) > 5 {
		return fmt.Errorf("the agent was asked %d times", len(seen))
	}
	if first := seen[0]; first.Status/100 != 4 || !strings.Contains(first.Answer, "ResourceNotFoundException") {
		return fmt.Errorf("the agent answered %d %s: %s", first.Status, first.Reply.Get("Content-Type"), first.Answer)
	}
	// The SDK for JavaScript goes on to its older provider and says at the end that there are no credentials, no more.
	if s.player.ID == "js" && isCode(err, "CredentialsProviderError") {
		return nil
	}
	if !strings.Contains(err.Error(), "ResourceNotFoundException") {
		return fmt.Errorf("the program sees %w", err)
	}
	return nil
}

func playPodBadToken(ctx context.Context, s *session) error {
	p, err := s.podIdentity(ctx, "app", func(p *pod) {
		text, _ := os.ReadFile(p.file) // its absence shows as another refusal
		_ = p.write(string(text[:strings.LastIndexByte(string(text), '.')]) + ".AAAA")
	})
	if got := (*refusal)(nil); !errors.As(err, &got) {
		return fmt.Errorf("a forged token: %w", err)
	}
	seen := p.agent.exchanges()
	if len(seen) == 0 || seen[0].Status != http.StatusBadRequest || !strings.Contains(seen[0].Answer, "InvalidTokenException") {
		return fmt.Errorf("the agent answered %d: %s", p.agent.last().Status, p.agent.last().Answer)
	}
	return nil
}

// agentFails makes the agent's first answer a failure.
func (s *session) agentFails(ctx context.Context, f fault) error {
	f.match = anything
	p, err := s.podIdentity(ctx, "app", func(p *pod) { p.agent.inject(f) })
	if err != nil {
		return err
	}
	if n := len(p.agent.exchanges()); n != 2 {
		return fmt.Errorf("the agent was asked %d times, want 2", n)
	}
	return nil
}

// silent wants a failure of the client's own, with no token sent to the agent.
func (s *session) silent(ctx context.Context, change func(*pod)) error {
	p, err := s.podIdentity(ctx, "app", change)
	if got := (*refusal)(nil); !errors.As(err, &got) {
		return fmt.Errorf("the client went on: %w", err)
	}
	for _, e := range p.agent.exchanges() {
		if e.Header.Get("Authorization") != "" || e.Status/100 != 4 {
			return fmt.Errorf("the agent was sent a token, and answered %d", e.Status)
		}
	}
	return nil
}

func playNewline(ctx context.Context, s *session) error {
	return s.silent(ctx, func(p *pod) {
		text, _ := os.ReadFile(p.file) // without it the client has nothing to send either
		_ = p.write(string(text) + "\r\n")
	})
}

func playPlainHost(ctx context.Context, s *session) error {
	return s.silent(ctx, func(p *pod) {
		p.env = append(p.env, "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://192.0.2.1/v1/credentials")
	})
}

func playKeysFirst(ctx context.Context, s *session) error {
	p, err := s.newPod(ctx, "app")
	if err != nil {
		return err
	}
	who, err := s.start(ctx, append(p.env, "AWS_ACCESS_KEY_ID="+s.bed.env["AWS_ACCESS_KEY_ID"], "AWS_SECRET_ACCESS_KEY="+s.bed.env["AWS_SECRET_ACCESS_KEY"]))
	if err != nil {
		return err
	}
	out, err := s.inPod(ctx, who, "sts", "GetCallerIdentity")
	if err != nil {
		return err
	}
	if arn := text(out, "Arn"); strings.Contains(arn, "assumed-role") || len(p.agent.exchanges()) != 0 {
		return fmt.Errorf("the caller is %s, and the agent was asked %d times", arn, len(p.agent.exchanges()))
	}
	return nil
}

func playIRSAFirst(ctx context.Context, s *session) error {
	role, err := s.irsaRole(ctx, "irsa")
	if err != nil {
		return err
	}
	p, err := s.newPod(ctx, "app")
	if err != nil {
		return err
	}
	token, err := s.token(ctx, "irsa", "--audience", "sts.amazonaws.com")
	if err != nil {
		return err
	}
	file := p.file + "-irsa"
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		return err
	}
	who, err := s.start(ctx, append(p.env, "AWS_ROLE_ARN="+role, "AWS_WEB_IDENTITY_TOKEN_FILE="+file, "AWS_ROLE_SESSION_NAME=irsa"))
	if err != nil {
		return err
	}
	out, err := s.inPod(ctx, who, "sts", "GetCallerIdentity")
	if err != nil {
		return err
	}
	if n := len(p.agent.exchanges()); n != 0 {
		return fmt.Errorf("the agent was asked %d times", n)
	}
	return want(out, M{"Arn": fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/irsa", s.bed.account, s.name("irsa"))})
}
