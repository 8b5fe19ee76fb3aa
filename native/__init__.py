"""Machine code of the store's hot modules, made by mypyc where a C compiler is present: compile.py. Never needed."""
