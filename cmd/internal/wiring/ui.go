package wiring

import (
	"errors"

	"membersync/cmd/internal/config"
)

// UITokens returns functions that return the current tokens of operators and of viewers: those of
// their files, if they have one. A token that is not set is empty.
func (p *Parts) UITokens(ui config.UI) (operator, viewer func() string, err error) {
	operator, err = p.secret("MEMBERSYNC_UI_TOKEN_FILE", ui.Token)
	viewer, viewerErr := p.secret("MEMBERSYNC_UI_VIEWER_TOKEN_FILE", ui.ViewerToken)
	return operator, viewer, errors.Join(err, viewerErr)
}
