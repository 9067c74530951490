package mapper

import (
	"membersync/mapper/internal/path"
	"membersync/mapper/internal/spec"
)

// An envelopeCompiler compiles how the event is wrapped.
type envelopeCompiler struct{ c *compiler }

func (ec envelopeCompiler) envelope(e *spec.Envelope) {
	ec.c.p.kind = envelopeKind(find([]string{"plain", "cloudevents", "debezium", "debezium-flat"}, e.Kind)) //nolint:gosec // four
	ec.c.p.registry, ec.c.p.registryOptional, ec.c.p.unwrap = ec.steps(e.Unwrap, true)
	_, _, ec.c.p.then = ec.steps(e.Then, false)
	ec.c.p.key.isJSON = e.Key.As.Value == "json"
	ec.c.p.key.registry, ec.c.p.key.registryOptional, ec.c.p.key.unwrap = ec.steps(e.Key.Unwrap, true)
	if len(e.Key.Unwrap) > 0 && !ec.c.p.key.isJSON {
		ec.c.log.Add(e.Key.At, "the key is unwrapped only if it is read as json")
	}
	ec.c.p.list = ec.c.optional(e.List, path.Item, path.After, path.Before, path.Key, path.Header, path.Attribute)
}

// steps compiles the steps of unwrapping. Framing stands before the JSON, so it comes first.
func (ec envelopeCompiler) steps(steps []spec.Step, fromBytes bool) (registry, optional bool, to []unwrapStep) {
	for i := range steps {
		s := &steps[i]
		given := unwrapStep{optional: s.Optional.Value}
		switch {
		case s.Is.Given() == s.Path.Given():
			ec.c.log.Add(s.At, "a step is either is or path")
			continue
		case s.Is.Value == "registry":
			if i > 0 || !fromBytes {
				ec.c.log.Add(s.At, "registry is the first step from the bytes, or none")
			}
			registry, optional = true, s.Optional.Value
			continue
		case s.Is.Value == "text":
			given.kind = fromText
		case s.Is.Value == "base64":
			given.kind = fromBase64
		default:
			var ok bool
			if given.path, ok = ec.c.path(s.Path, relative()...); !ok {
				continue
			}
		}
		to = append(to, given)
	}
	return registry, optional, to
}
