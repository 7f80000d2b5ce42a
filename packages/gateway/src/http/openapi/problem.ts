/** Problems as they are answered: RFC 9457. */
import { type ProblemCode, PROBLEMS } from '@millrace/core/problem';

/** What prevents a start, and what nodes say to one another. */
const unanswered: readonly string[] = [
  'stale_epoch',
  'data_directory_locked',
  'data_directory_damaged',
  'data_directory_newer',
  'schema_newer',
];

/** Those that a call can be answered with. */
export const CODES = (Object.keys(PROBLEMS) as ProblemCode[]).filter((code) => !unanswered.includes(code));

export const PROBLEM = {
  type: 'object',
  description: 'What is refused or fails (RFC 9457). `code` is what programs go by: codes are only ever added.',
  required: ['type', 'title', 'status', 'code', 'detail'],
  properties: {
    type: { type: 'string', format: 'uri', description: 'Names the code.' },
    title: { type: 'string', description: 'What the code means, for people.' },
    status: { type: 'integer', description: 'The HTTP status.' },
    code: { enum: CODES, description: 'Stable.' },
    detail: { type: 'string', description: 'What is wrong here, for people.' },
    pointer: {
      type: 'string',
      description: 'JSON pointer (RFC 6901) to the member at fault; `/query/…` for a parameter, `/headers/…` for a header.',
    },
    advice: { type: 'string', description: 'What to do about it.' },
  },
  examples: [
    {
      type: 'https://millrace.dev/problems/unknown_topic',
      title: 'The topic is not declared',
      status: 404,
      code: 'unknown_topic',
      detail: "the topic 'orders.lost' is not declared",
      pointer: '/type',
      advice: 'Declare it first: PUT /v1/topics/orders.lost',
    },
  ],
} as const;
