// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// decimal is a number kept as digits, so that large ones compare exactly.
type decimal struct {
	negative bool
	whole    string // no leading zeros
	fraction string // no trailing zeros
}

// parseDecimal reads an integer or a decimal number; all of s or nothing.
func parseDecimal(s string) (decimal, bool) {
	d := decimal{}
	switch {
	case strings.HasPrefix(s, "-"):
		d.negative, s = true, s[1:]
	case strings.HasPrefix(s, "+"):
		s = s[1:]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if whole == "" && fraction == "" || !digits(whole) || !digits(fraction) {
		return decimal{}, false
	}
	d.whole = strings.TrimLeft(whole, "0")
	d.fraction = strings.TrimRight(fraction, "0")
	if d.whole == "" && d.fraction == "" {
		d.negative = false
	}
	return d, true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// compare returns -1, 0 or 1 as d is less than, equal to or greater than e.
func (d decimal) compare(e decimal) int {
	if d.negative != e.negative {
		if d.negative {
			return -1
		}
		return 1
	}
	c := compareInts(len(d.whole), len(e.whole))
	if c == 0 {
		c = strings.Compare(d.whole, e.whole)
	}
	if c == 0 {
		c = strings.Compare(d.fraction, e.fraction)
	}
	if d.negative {
		return -c
	}
	return c
}

func compareInts[T int | int64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// instant is a point of time: seconds since 1970 and nanoseconds.
type instant struct {
	seconds int64
	nanos   int64
}

func (t instant) compare(u instant) int {
	if c := compareInts(t.seconds, u.seconds); c != 0 {
		return c
	}
	return compareInts(t.nanos, u.nanos)
}

// parseInstant reads epoch seconds or ISO 8601 in the forms that IAM takes: a
// year of four digits, a year and month, a date, a date and time of any
// precision down to nanoseconds, with Z, an offset, or neither (then UTC).
func parseInstant(s string) (instant, bool) {
	if t, ok := parseEpoch(s); ok {
		return t, true
	}
	p := dateParser{rest: s}
	return p.parse()
}

func parseEpoch(s string) (instant, bool) {
	body := strings.TrimPrefix(s, "-")
	if body == "" || !digits(body) || len(s) == 4 {
		return instant{}, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return instant{seconds: n}, err == nil
}

// dateParser reads a date from the front of rest.
type dateParser struct {
	rest string
}

func (p *dateParser) parse() (instant, bool) {
	year, ok := p.number(1, 9)
	if !ok {
		return instant{}, false
	}
	month, day := 1, 1
	if p.take("-") {
		if month, ok = p.number(1, 2); !ok {
			return instant{}, false
		}
		if p.take("-") {
			if day, ok = p.number(1, 2); !ok {
				return instant{}, false
			}
		}
	}
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return instant{}, false
	}
	t := instant{seconds: daysSinceEpoch(year, month, day) * 86400}
	if p.take("T") || p.take("t") {
		seconds, nanos, ok := p.timeOfDay()
		if !ok {
			return instant{}, false
		}
		t.seconds += seconds
		t.nanos = nanos
	}
	return t, p.rest == ""
}

// timeOfDay reads hh[:mm[:ss[.fraction]]] and a zone; it may be empty. The
// seconds it returns are corrected for the zone.
func (p *dateParser) timeOfDay() (seconds, nanos int64, ok bool) {
	if p.rest == "" {
		return 0, 0, true
	}
	hour, ok := p.number(1, 2)
	minute, second := 0, 0
	if ok && p.take(":") {
		minute, ok = p.number(2, 2)
		if ok && p.take(":") {
			second, ok = p.number(2, 2)
			if ok && (p.take(".") || p.take(",")) {
				nanos, ok = p.fraction()
			}
		}
	}
	if !ok || hour > 24 || minute > 59 || second > 60 || hour == 24 && minute+second > 0 {
		return 0, 0, false
	}
	offset, ok := p.zone()
	return int64(hour*3600+minute*60+second) - offset, nanos, ok
}

func (p *dateParser) zone() (offset int64, ok bool) {
	sign := int64(1)
	switch {
	case p.rest == "":
		return 0, true
	case p.take("Z") || p.take("z"):
		return 0, true
	case p.take("-"):
		sign = -1
	case !p.take("+"):
		return 0, false
	}
	hour, ok := p.number(2, 2)
	minute := 0
	if ok && p.rest != "" {
		p.take(":")
		minute, ok = p.number(2, 2)
	}
	if !ok || hour > 23 || minute > 59 {
		return 0, false
	}
	return sign * int64(hour*3600+minute*60), true
}

// number reads between least and most digits.
func (p *dateParser) number(least, most int) (int, bool) {
	n := 0
	for n < len(p.rest) && n < most && p.rest[n] >= '0' && p.rest[n] <= '9' {
		n++
	}
	if n < least {
		return 0, false
	}
	v, err := strconv.Atoi(p.rest[:n])
	p.rest = p.rest[n:]
	return v, err == nil
}

// fraction reads up to nine digits of a second.
func (p *dateParser) fraction() (int64, bool) {
	before := len(p.rest)
	v, ok := p.number(1, 9)
	if !ok {
		return 0, false
	}
	return int64(v) * int64(math.Pow10(9-(before-len(p.rest)))), true
}

func (p *dateParser) take(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return ok
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSinceEpoch counts the days from 1970-01-01 in the Gregorian calendar,
// with years that begin in March so that a leap day is the last of its year.
func daysSinceEpoch(year, month, day int) int64 {
	y := int64(year)
	m := int64(month) - 3
	if m < 0 {
		y, m = y-1, m+12
	}
	const daysToEpoch = 719468
	yearDays := (153*m+2)/5 + int64(day) - 1
	return y*365 + y/4 - y/100 + y/400 + yearDays - daysToEpoch
}

// parsePrefix reads an address or a network; an address is a network of itself.
func parsePrefix(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		addr, ok := parseAddr(s)
		return netip.PrefixFrom(addr, addr.BitLen()), ok
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), true
}

// parseAddr reads an address; IPv4 in IPv6 counts as the IPv4 address.
func parseAddr(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// parseBool reads true or false in any case.
func parseBool(s string) (value, ok bool) {
	switch {
	case foldEqual(s, "true"):
		return true, true
	case foldEqual(s, "false"):
		return false, true
	}
	return false, false
}
