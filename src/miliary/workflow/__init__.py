"""What a user asks for as one call: read, compute, write one folder. No command line, no printing.

Every function takes paths and keyword-only options, reports its stages through a callback, stops where the
caller asks it to, and raises errors of `miliary.errors`. Libraries are loaded by the call that needs them.
"""
