.PHONY: run test lint
run:
	python3 bootstrap.py run
test:
	python3 bootstrap.py test
lint:
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports
