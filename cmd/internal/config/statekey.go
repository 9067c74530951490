package config

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// minStateKey is the shortest state key, in bytes: as long as the hash.
const minStateKey = 32

// KeyBytes returns the state key, at least 32 bytes; nil: there is none.
func (s State) KeyBytes() []byte {
	if !s.Key.IsSet() {
		return nil
	}
	key, _ := stateKey(s.Key.Reveal())
	return key
}

// stateKey reads a key of at least 32 bytes. Hex digits, and what ends with base64's padding, are
// an encoding for certain, so a short one is refused. Other text that is too short as base64 counts
// as it is.
func stateKey(text string) (key []byte, ok bool) {
	if key, err := hex.DecodeString(text); err == nil {
		return key, len(key) >= minStateKey
	}
	unpadded := strings.TrimRight(text, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		key, err := encoding.DecodeString(unpadded)
		if err == nil && (len(key) >= minStateKey || len(unpadded) < len(text)) {
			return key, len(key) >= minStateKey
		}
	}
	return []byte(text), len(text) >= minStateKey
}
