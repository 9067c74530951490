package ops

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/cmd/internal/times"
	"membersync/dlq/partlog"
)

// A Position is where a range of a topic begins or ends, or where offsets are set to. The zero
// value is not given.
type Position struct {
	Earliest bool
	Latest   bool
	At       time.Time     // of the first record, in all partitions
	Offsets  map[int]int64 // only these partitions
}

// IsGiven reports whether the position names something.
func (p Position) IsGiven() bool {
	return p.Earliest || p.Latest || !p.At.IsZero() || p.Offsets != nil
}

// Add adds a word: a partition:offset, of which there may be several, or one of earliest, latest
// and a time as [times.Parse] reads it. It returns false for any other word, and for one that does
// not go with those before it.
func (p *Position) Add(word string, now time.Time) (ok bool) {
	switch {
	case p.addOffset(word):
		return true
	case p.IsGiven():
		return false
	case word == "earliest":
		p.Earliest = true
		return true
	case word == "latest":
		p.Latest = true
		return true
	}
	p.At, ok = times.Parse(word, now)
	return ok
}

// addOffset adds a partition:offset. It returns false if the text is not of that form, the
// partition is given already, or another kind of position is.
func (p *Position) addOffset(text string) bool {
	partition, offset, ok := parsePlace(text)
	if !ok || p.IsGiven() && p.Offsets == nil {
		return false
	}
	if _, twice := p.Offsets[partition]; twice {
		return false
	}
	if p.Offsets == nil {
		p.Offsets = map[int]int64{}
	}
	p.Offsets[partition] = offset
	return true
}

// parsePlace reads partition:offset.
func parsePlace(text string) (partition int, offset int64, ok bool) {
	first, second, ok := strings.Cut(text, ":")
	partition, err1 := strconv.Atoi(first)
	offset, err2 := strconv.ParseInt(second, 10, 64)
	return partition, offset, ok && err1 == nil && err2 == nil && partition >= 0 && offset >= 0
}

// String names the position: one word, or one for each offset.
func (p Position) String() string {
	switch {
	case p.Earliest:
		return "earliest"
	case p.Latest:
		return "latest"
	case !p.At.IsZero():
		return p.At.UTC().Format(time.RFC3339)
	}
	var words []string
	for _, partition := range slices.Sorted(maps.Keys(p.Offsets)) {
		words = append(words, placeText(partition, p.Offsets[partition]))
	}
	return strings.Join(words, " ")
}

// in names the position as resolved in a partition.
func (p Position) in(partition int, offset int64) string {
	if p.Offsets != nil {
		return placeText(partition, offset)
	}
	return p.String() + " (" + placeText(partition, offset) + ")"
}

func placeText(partition int, offset int64) string {
	return strconv.Itoa(partition) + ":" + strconv.FormatInt(offset, 10)
}

// A RangeError is returned for a range that does not end after its beginning.
type RangeError struct{ text string }

// Error names both.
func (e *RangeError) Error() string { return e.text }

func emptyRange(from, to string) error {
	return &RangeError{fmt.Sprintf("the range ends at %s, which is not after its beginning %s", to, from)}
}

// CheckRange returns a [*RangeError] if the two positions can be compared as they are, and leave
// nothing between them. An end that is not given is valid.
func CheckRange(from, to Position) error {
	switch {
	case !from.IsGiven() || !to.IsGiven():
		return nil
	case from.Latest, to.Earliest, !from.At.IsZero() && !to.At.IsZero() && !from.At.Before(to.At):
		return emptyRange(from.String(), to.String())
	case from.Offsets == nil:
		return nil
	}
	for _, partition := range slices.Sorted(maps.Keys(to.Offsets)) {
		first, begins := from.Offsets[partition]
		end := placeText(partition, to.Offsets[partition])
		if !begins {
			return &RangeError{fmt.Sprintf("the range ends at %s, but does not begin in partition %d", end, partition)}
		}
		if first >= to.Offsets[partition] {
			return emptyRange(placeText(partition, first), end)
		}
	}
	return nil
}

// An OutsideError is returned for an offset that the log does not hold.
type OutsideError struct {
	Topic     string
	Partition int
	Offset    int64
	Range     partlog.Range // what the partition holds
	IsMissing bool          // the partition does not exist
}

// Error names the partition and what it holds.
func (e *OutsideError) Error() string {
	if e.IsMissing {
		return fmt.Sprintf("unknown partition %d: topic %s does not have it", e.Partition, e.Topic)
	}
	return fmt.Sprintf("offset %d is outside partition %d of topic %s, which begins at %d and ends before %d",
		e.Offset, e.Partition, e.Topic, e.Range.First, e.Range.End)
}

// resolve returns the offset of a position for each partition that it is about, and what the topic
// holds. A time after the last record is the end.
func (s *GroupOffsets) resolve(ctx context.Context, topic string, to Position) (map[int]int64, map[int]partlog.Range, error) {
	ranges, err := s.ranges(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	offsets := make(map[int]int64, len(ranges))
	for p, offset := range to.Offsets {
		r, ok := ranges[p]
		if !ok || offset < r.First || offset > r.End {
			return nil, nil, &OutsideError{topic, p, offset, r, !ok}
		}
		offsets[p] = offset
	}
	if to.Offsets != nil {
		return offsets, ranges, nil
	}
	var since map[int]int64
	if !to.At.IsZero() {
		if since, err = s.log().Since(ctx, topic, to.At); err != nil {
			return nil, nil, err
		}
	}
	for p, r := range ranges {
		offset, found := since[p]
		switch {
		case to.Earliest:
			offsets[p] = r.First
		case found:
			offsets[p] = min(max(offset, r.First), r.End)
		default: // latest, or no record is that young
			offsets[p] = r.End
		}
	}
	return offsets, ranges, nil
}
