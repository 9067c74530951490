package simulation

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// A theme is the subject of a seed, in addition to the faults of every seed. Most themes have
// kinds, which the tally counts separately.
type theme struct {
	name string
	plan func(*world, *rand.Rand) // adds actions or changes settings before the start
}

func themes() []theme {
	return []theme{
		{"partitions", (*world).planPartitions},
		{"append time", (*world).planAppendTime},
		{"headers", (*world).planHeaders},
		{"pauses", (*world).planPauses},
		{"redrives", (*world).planRedrives},
		{"replays", (*world).planReplays},
		{"storms", (*world).planStorms},
		{"recreated", (*world).planRecreated},
		{"bombs", (*world).planBombs},
		{"purge", (*world).planPurge},
		{"large batches", (*world).planLargeBatches},
	}
}

// themeKinds returns the themes and their kinds, as the tally counts them.
func themeKinds() []string {
	var kinds []string
	for _, t := range themes() {
		kinds = append(kinds, "theme: "+t.name)
	}
	kinds = append(kinds, "100 partitions", "very many headers")
	kinds = append(kinds, pauseKinds()...)
	kinds = append(kinds, redriveKinds()...)
	kinds = append(kinds, "topic recreated", "topic missing")
	kinds = append(kinds, bombKinds()...)
	kinds = append(kinds, stormKinds()...)
	kinds = append(kinds, replayKinds()...)
	for _, how := range forgeries() {
		kinds = append(kinds, "forged: "+how)
	}
	return kinds
}

// drawThemes draws the themes of the seed: none, one, or two.
func (w *world) drawThemes() {
	r := w.random.roll("themes")
	n := pick(r, 0, 0, 1, 1, 1, 2)
	if name := textFlag("theme"); name != "" {
		w.themes = strings.Split(name, ",")
		n = 0
	}
	all := themes()
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, t := range all[:n] {
		w.themes = append(w.themes, t.name)
	}
	if w.has("recreated") { // offsets would be ambiguous for other themes
		w.themes = []string{"recreated"}
	}
}

func (w *world) has(theme string) bool { return slices.Contains(w.themes, theme) }

// planThemes makes the seed's themes change its settings and add their actions.
func (w *world) planThemes() {
	for _, t := range themes() {
		if w.has(t.name) {
			w.tally.fired("theme: " + t.name)
			w.log("theme", "name", t.name)
			t.plan(w, w.random.roll("theme", t.name))
		}
	}
}
