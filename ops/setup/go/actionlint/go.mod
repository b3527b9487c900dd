// What actionlint is built from where PATH has none (ops/setup/lint.py).
module flaskhost/actionlint

go 1.25.0

require github.com/rhysd/actionlint v1.7.12
