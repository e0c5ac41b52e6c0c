// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// soon is until most attacks are at their height.
	soon = 500 * time.Millisecond
	// othersRate is how often the others ask together, in a second.
	othersRate = 400
	// maxSlower bounds the others' p99 while somebody means harm, beside a quiet time's in the same minute.
	maxSlower = 2.0
	// maxHostileRSS is the limit of memory that the chart gives an agent.
	maxHostileRSS = 128 << 20
)

// hostile measures what other pods notice of one that means harm: their p99, the agent's memory, calls upstream.
func (b *agentBench) hostile(ctx context.Context) error {
	pods, err := b.pods(17)
	if err != nil {
		return err
	}
	flooder, pods := pods[16], pods[:16]
	attacks, err := b.attacks(flooder)
	if err != nil {
		return err
	}
	b.stub.set(stubGrant, 6*time.Hour)
	asItComes := b.agent.without("--max-request-rate")
	return b.run(ctx, asItComes, nil, func(a *process, base string) error {
		conns := newPool(len(pods), plain1)
		defer conns.close()
		if _, err := conns.drive(ctx, a, base, append(slices.Clone(pods), flooder)); err != nil {
			return err
		}
		conns.rate = othersRate
		requests := slices.Repeat(pods, 1+min(b.o.requests, 200)/len(pods))
		legitimate, most := len(b.stub.seen()), int64(0)
		for _, attack := range attacks {
			rss, err := b.suffer(ctx, a, base, conns, requests, attack)
			if err != nil {
				return fmt.Errorf("%s: %w", attack.Name, err)
			}
			most = max(most, rss)
		}
		b.row(most > maxHostileRSS, "hostile pods: resident at most", mega(maxHostileRSS), "%s", mega(most))
		calls := len(b.stub.seen()) - legitimate
		b.row(calls > 0, "hostile pods: calls upstream for them", "0", "%d", calls)
		return nil
	})
}

// suffer drives the others in a quiet time and under the attack, in many short turns of which it takes the median: a change of
// the machine's mood meets both parts of a turn, or spoils that one. It returns the agent's memory under the attack.
func (b *agentBench) suffer(ctx context.Context, a *process, base string, conns *pool, requests []request, attack attack) (rss int64, err error) {
	var quiet, loud []time.Duration // the p99 of each turn
	var slower []float64
	tries := 0
	for range 3 * min(b.o.rounds, 5) {
		calm, err := conns.drive(ctx, a, base, requests)
		if err != nil {
			return 0, err
		}
		attacker, err := attack.begin(ctx, strings.TrimPrefix(base, "http://"))
		if err != nil {
			return 0, err
		}
		harmed, err := conns.drive(ctx, a, base, requests)
		now, rssErr := a.rss()
		tried, endErr := attacker.end()
		if err = errors.Join(err, rssErr, endErr); err != nil {
			return 0, fmt.Errorf("others are not served: %w", err)
		}
		rss = max(rss, now)
		tries += tried
		before, after := percentile(calm.took, 99), percentile(harmed.took, 99)
		quiet, loud, slower = append(quiet, before), append(loud, after), append(slower, float64(after)/float64(before))
	}
	slices.Sort(quiet)
	slices.Sort(loud)
	slices.Sort(slower)
	ratio := slower[len(slower)/2]
	b.row(ratio > maxSlower, "hostile pods: others' p99, "+attack.Name, fmt.Sprintf("%.1f x quiet", maxSlower), "%.1f x quiet (%.1f of %.1f ms), %d attempts",
		ratio, millis(percentile(loud, 50)), millis(percentile(quiet, 50)), tries)
	return rss, nil
}

// attacks are of one pod; each has a rate, since what eats this machine's CPUs by itself says nothing about the agent.
func (b *agentBench) attacks(flooder request) ([]attack, error) {
	forged, err := b.forged()
	if err != nil {
		return nil, err
	}
	own := flooder.header["Authorization"]
	return []attack{
		{Name: "slow requests on 1,000 connections", Kind: dribbling, Rate: 2000, Connections: 1000, Rise: soon},
		{Name: "headers of 2 MB", Kind: shouting, Rate: 20, Tokens: []string{strings.Repeat("x", 2<<20)}, Rise: soon},
		{Name: "forged tokens", Kind: pestering, Rate: 1000, Tokens: forged, Rise: soon},
		{Name: "10,000 connections", Kind: hoarding, Rate: 5000, Connections: 10_000, Rise: 2 * time.Second},
		{Name: "2,000 connections a second", Kind: hoarding, Rate: 2000, Connections: 100_000, Rise: soon},
		{Name: "a flood with its own token", Kind: pestering, Rate: 2000, Tokens: own, Rise: soon}, // twice what one pod may ask
	}, nil
}

// forged are tokens that nobody may be given credentials for.
func (b *agentBench) forged() ([]string, error) {
	other, err := newSigner()
	if err != nil {
		return nil, err
	}
	const rs256 = `{"alg":"RS256","kid":"` + keyID + `"}`
	of := func(change func(claims map[string]any)) map[string]any {
		c := claims(podAudience, namespace, "sa", "sa-0")
		change(c)
		return c
	}
	var out []string
	for _, f := range []struct {
		by     *signer
		header string
		change func(map[string]any)
	}{
		{other, rs256, func(map[string]any) {}}, // another cluster's key
		{b.tokens, `{"alg":"none"}`, func(map[string]any) {}},
		{b.tokens, `{"alg":"RS256","kid":"unknown"}`, func(map[string]any) {}},
		{b.tokens, rs256, func(c map[string]any) { c["iss"] = "https://another.example" }},
		{b.tokens, rs256, func(c map[string]any) { c["aud"] = []string{"sts.amazonaws.com"} }},
		{b.tokens, rs256, func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }},
		{b.tokens, rs256, func(c map[string]any) {
			c["kubernetes.io"].(map[string]any)["node"] = map[string]string{"name": "another-node", "uid": "u"}
		}},
	} {
		token, err := f.by.sign(f.header, of(f.change))
		if err != nil {
			return nil, err
		}
		out = append(out, token)
	}
	return append(out, "garbage", strings.Repeat("a.", 4000)), nil
}
