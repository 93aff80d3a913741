
import time, sys
from tests.worlds import *
if __name__=='__main__':
  miss=Counter(); T=0
  for seed in range(int(sys.argv[1]),int(sys.argv[2])):
    t=time.time(); p=play(seed,int(sys.argv[3])); T+=p.calls_count
    for r in Reason: miss[r]+= r not in p.reasons
    for k in c.CALLS.values():
        for ok in (True,False): miss[k.__name__,ok]+= p.counts[k.__name__,ok]==0
    if seed%10==0: print(seed, time.time()-t, p.outcomes,flush=True)
  print(T,{k:v for k,v in miss.items() if v})
