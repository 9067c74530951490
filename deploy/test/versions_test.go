package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// match returns the first group of a pattern in a file of the repository.
func match(t *testing.T, file, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s: nothing matches %s", file, pattern)
	}
	return string(found[1])
}

// The workflow runs in the container that the images are built on, and the chart installs the
// version that the CHANGELOG begins with.
func TestVersionsAgree(t *testing.T) {
	t.Parallel()
	image := match(t, "deploy/Dockerfile", `(?m)^FROM (golang:\S+) AS source$`)
	if container := match(t, ".github/workflows/ci.yml", `(?m)^    container: (\S+)$`); container != image {
		t.Errorf("the workflow runs in %s, and the image is built on %s", container, image)
	}
	version := match(t, "CHANGELOG.md", `(?m)^## (\S+)$`)
	if app := match(t, "deploy/helm/membersync/Chart.yaml", `(?m)^appVersion: (\S+)$`); app != version {
		t.Errorf("the chart installs %s, and the CHANGELOG begins with %s", app, version)
	}
}
