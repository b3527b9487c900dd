//go:build tools

// Package tools names the main package, so that Go's own commands see what this module is for.
package tools

import _ "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
