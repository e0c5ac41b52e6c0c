// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// Whoever may assume a role chooses session policies: none may be so dense that
// a full cache takes the server's memory.
func TestCacheMemoryIsBounded(t *testing.T) {
	const limit = 128 << 10
	one := func(i int, resource, condition string) string {
		return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a:%d","Resource":%s%s}]}`, i, resource, condition)
	}
	list := func(item string, n int) string { return "[" + item + strings.Repeat(","+item, n) + "]" }
	for name, text := range map[string]func(i int) string{
		"resources": func(i int) string { return one(i, list(`"*"`, 480), "") },
		"values":    func(i int) string { return one(i, `"*"`, `,"Condition":{"StringLike":{"a:b":`+list(`"*"`, 450)+`}}`) },
		"ARNs":      func(i int) string { return one(i, `"*"`, `,"Condition":{"ArnLike":{"a:b":`+list(`"*"`, 450)+`}}`) },
		"stars": func(i int) string {
			return one(i, `"*"`, `,"Condition":{"StringLike":{"a:b":["`+strings.Repeat("*a", 900)+`"]}}`)
		},
		"variables": func(i int) string {
			return one(i, `"*"`, `,"Condition":{"StringLike":{"a:b":["`+strings.Repeat("${a}", 450)+`"]}}`)
		},
		"principals": func(i int) string {
			return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"s%d","Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":%s}}]}`, i, list(`"*"`, 450))
		},
		"statements": func(i int) string {
			return one(i, `"*"`, "}"+strings.Repeat(`,{"Effect":"Deny","Action":"*","Resource":"*"}`, 41)+`,{"Effect":"Deny","Action":"*","Resource":"*"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			kind := SessionPolicy
			if name == "principals" {
				kind = Trust
			}
			c := NewCache(limit)
			before := heap()
			for i := range 80 {
				if _, err := c.Get(kind, text(i)); err != nil {
					t.Fatal(err)
				}
			}
			if took := int(heap()) - int(before); took > 20*limit {
				t.Errorf("%d documents take %d bytes, %d times the limit", c.Len(), took, took/limit)
			}
			runtime.KeepAlive(c)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
