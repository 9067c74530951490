package corpus_test

import (
	"bytes"
	"math/rand/v2"
	"slices"

	"github.com/segmentio/kafka-go"
)

// tokens returns texts that replace others or are inserted anywhere.
func tokens() []string {
	return []string{
		"null", `""`, `"  "`, "[]", "{}", "0", "-1", "1e3", "1e999999999", "10042.0", "9007199254740993", "99999999999999999999", "true",
		`"0100"`, `"\u0000"`, `"\ud800"`, "\xff", `"**"`, `"2023-02-29"`, `"9999-12-31"`, `"/Date(1)/"`, `"__debezium_unavailable_value"`,
		`"FSUID_TEST0007"`, `{"value":1}`, `[null]`, `"[1]"`, `"{}"`, "NaN", ",", ":", "}", `"a":`, "\xef\xbb\xbf", "\x00\x00\x00\x00\x07",
	}
}

// mutant returns a copy of a record with changes, which are often faults.
func mutant(rng *rand.Rand, m kafka.Message, all []kafka.Message) kafka.Message {
	m.Value, m.Headers = slices.Clone(m.Value), slices.Clone(m.Headers)
	for range max(1, rng.IntN(4)-1) {
		switch rng.IntN(12) {
		case 0:
			m.Key = mutated(rng, m.Key, all[rng.IntN(len(all))].Key)
		case 1:
			if len(m.Headers) > 0 {
				h := &m.Headers[rng.IntN(len(m.Headers))]
				h.Value = mutated(rng, h.Value, nil)
			}
		default:
			m.Value = mutated(rng, m.Value, all[rng.IntN(len(all))].Value)
		}
	}
	return m
}

// mutated changes bytes or whole tokens, or moves parts.
func mutated(rng *rand.Rand, b, other []byte) []byte {
	if len(b) == 0 {
		return slices.Clone(other)
	}
	at := rng.IntN(len(b))
	switch rng.IntN(15) {
	case 0:
		return b[:at]
	case 1:
		return slices.Delete(slices.Clone(b), at, min(at+1+rng.IntN(4), len(b)))
	case 2:
		b = slices.Clone(b)
		b[at] ^= 1 << rng.IntN(8)
		return b
	case 3:
		end := at + rng.IntN(len(b)-at)
		return slices.Insert(slices.Clone(b), at, bytes.Clone(b[at:end])...)
	case 4:
		return slices.Insert(slices.Clone(b), at, []byte(tokens()[rng.IntN(len(tokens()))])...)
	case 5:
		if len(other) == 0 {
			return b
		}
		return slices.Concat(b[:at], other[rng.IntN(len(other)):])
	}
	return replaced(rng, b, at)
}

// replaced replaces the value after a colon with a token, mostly so that the JSON stays valid.
func replaced(rng *rand.Rand, b []byte, at int) []byte {
	colon := bytes.IndexByte(b[at:], ':')
	if colon < 0 {
		return b
	}
	start := at + colon + 1
	end := start
	for depth := 0; end < len(b) && (depth > 0 || !bytes.ContainsRune([]byte(",}]"), rune(b[end]))); end++ {
		switch b[end] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
	}
	return slices.Concat(b[:start], []byte(tokens()[rng.IntN(len(tokens()))]), b[end:])
}
