"""Small trees of libraries by chance, and what real loaders make of them.

Environment:
    FERRY_CASES   trees for each loader; 40 if not set
    FERRY_SEED    the first of them, to make one again
"""
